import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Debian keeps servers where only root looks. */
const ALSO = '/usr/sbin'

/** The path of the first of these programs that is installed. */
export function findProgram (...names: string[]): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ALSO]
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path))
}
