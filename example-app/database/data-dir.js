// @ts-check
import { fileURLToPath } from 'node:url'

/** Where the database is stored that needs no server. */
export const { DATA_DIR = fileURLToPath(new URL('../data', import.meta.url)) } = process.env
