// Packs the package. Checks that each module in it has a source map that holds its TypeScript source, that its command
// runs, and that the client for a plain page is one file, with a second one for pages whose tabs share connections, and
// a third one with the folds.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folder = mkdtempSync(join(tmpdir(), 'packed-'))
try {
  const output = execFileSync('npm', ['pack', '--json', '--silent', '--pack-destination', folder], { encoding: 'utf8' })
  const { filename } = Object.values(JSON.parse(output))[0]
  execFileSync('tar', ['-xzf', join(folder, filename), '-C', folder])
  const dist = join(folder, 'package/dist')
  const modules = readdirSync(dist, { recursive: true }).filter((file) => /(?<!\.min)\.js$/.test(file))
  assert.ok(modules.length > 50, `${modules.length} modules`)
  for (const file of modules) {
    const { sources, sourcesContent } = JSON.parse(readFileSync(join(dist, `${file}.map`), 'utf8'))
    assert.match(sources[0], new RegExp(`/lib/${file.replace(/js$/, 'ts')}$`))
    assert.ok(sourcesContent[0].length > 0, `${file} has its source`)
  }
  const { bin, version } = JSON.parse(readFileSync(join(folder, 'package/package.json'), 'utf8'))
  // As in an app: the dependencies are beside the package.
  symlinkSync(join(process.cwd(), 'node_modules'), join(folder, 'node_modules'))
  const command = join(folder, 'package', bin['fastify-realtime'])
  assert.equal(execFileSync(process.execPath, [command, '--version'], { encoding: 'utf8' }), `${version}\n`)
  assert.match(readFileSync(command, 'utf8'), /^#!\/usr\/bin\/env node\n/)
  const page = join(dist, 'client.min.js')
  const imports = (file) => readFileSync(join(dist, file), 'utf8').match(/\bimport\b[^)]*/g)
  assert.deepEqual(imports('client.min.js'), ['import("./client.shared-connections.min.js"'])
  for (const file of ['client.shared-connections.min.js', 'client.folds.min.js']) assert.equal(imports(file), null)
  const { createRealtimeClient } = await import(page)
  createRealtimeClient().close()
  const { foldPresence } = await import(join(dist, 'client.folds.min.js'))
  assert.deepEqual(foldPresence(['ada'], { joined: ['bob'] }), ['ada', 'bob'])
  console.log(`${modules.length} modules with their source maps`)
} finally {
  rmSync(folder, { recursive: true })
}
