import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Test } from 'tap'
import { freePort } from './free-port.ts'
import { plainNode } from './plain-node.ts'
import { until } from './until.ts'

const root = new URL('../..', import.meta.url)

/** A document of the project, such as `README.md`. */
export class Document {
  readonly text: string

  private constructor (text: string) {
    this.text = text
  }

  static async read (path: string): Promise<Document> {
    return new Document(await readFile(new URL(path, root), 'utf8'))
  }

  /** The code below a heading. */
  snippets (heading: string): string[] {
    const section = this.text.split(/^#+ /m).find((part) => part.startsWith(heading)) ?? ''
    return blocks(section, 'js|ts')
  }

  /** All code in a language. */
  blocks (language: string): string[] {
    return blocks(this.text, language)
  }
}

function blocks (text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`(?:${language})\\n([^]*?)^\`\`\``, 'gm'))].map(
    ([, code]) => code as string
  )
}

/**
 * Writes a snippet into the project, where `fastify-realtime` is what `npm run build` made, with the files that it
 * imports. Resolves with its folder.
 */
export async function writeSnippet (
  t: Test, code: string | undefined, name: string, files: Record<string, string | undefined> = {}
): Promise<string> {
  const folder = await mkdtemp(new URL('test/snippet-', root).pathname)
  t.teardown(() => rm(folder, { recursive: true }))
  for (const [path, text = ''] of Object.entries({ [name]: code, ...files })) {
    await mkdir(dirname(`${folder}/${path}`), { recursive: true })
    await writeFile(`${folder}/${path}`, text)
  }
  return folder
}

interface RunningSnippet {
  url: string
  pid: number
}

interface ServeOptions { env?: Record<string, string>, files?: Record<string, string | undefined> }

/** Runs a snippet that serves until it is ended. Resolves with its address, once it is well or has no health route. */
export async function serveSnippet (t: Test, code: string | undefined, options?: ServeOptions): Promise<string> {
  return (await startSnippet(t, code, options)).url
}

/** Runs a snippet as `serveSnippet` does. Its process gets signals by its id. */
export async function startSnippet (
  t: Test, code: string | undefined, { env = {}, files = {} }: ServeOptions = {}
): Promise<RunningSnippet> {
  const port = await freePort()
  const folder = await writeSnippet(t, code, 'snippet.js', files)
  const child = spawn(...plainNode(`${folder}/snippet.js`), {
    env: { ...process.env, REDIS_URL: undefined, PORT: String(port), ...env },
    stdio: 'ignore'
  })
  t.teardown(async () => { if (child.kill('SIGKILL')) await once(child, 'exit') })
  const url = `http://127.0.0.1:${port}`
  await until(async () => {
    if (child.exitCode !== null) throw new Error('The snippet ended')
    return await fetch(`${url}/api/health/pubsub`).then(({ ok, status }) => ok || status === 404, () => false)
  }, (isUp) => isUp)
  return { url, pid: child.pid as number }
}
