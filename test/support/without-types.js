import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'

const cache = new URL('../../node_modules/.cache/typescript/', import.meta.url)
mkdirSync(cache, { recursive: true })

/**
 * Puts spaces where types were, so that stack traces and coverage name the lines and columns of the source without a
 * source map. The result is kept on disk, since tests run in many processes.
 */
export async function withoutTypes (source) {
  const file = new URL(createHash('sha256').update(source).digest('hex'), cache)
  try {
    return readFileSync(file, 'utf8')
  } catch {
    // It takes a second to load, so only if something has changed.
    const { default: blankSpace } = await import('ts-blank-space')
    const code = blankSpace(source, reject)
    // Renamed when it is complete, since other processes read here.
    const unfinished = new URL(`${file.href}.${process.pid}`)
    writeFileSync(unfinished, code)
    renameSync(unfinished, file)
    return code
  }
}

function reject (node) {
  throw new SyntaxError(`This is more than a type, so it cannot be removed: ${node.getText()}`)
}
