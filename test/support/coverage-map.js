import { readdirSync } from 'node:fs'

/**
 * What has to be covered is lib, by whichever test: neither the example app, nor what a build made, nor lib/contracts,
 * which is tests itself.
 */
const lib = readdirSync(new URL('../../lib', import.meta.url), { recursive: true })
  .filter((file) => file.endsWith('.ts') && !file.startsWith('contracts/'))
  .map((file) => `lib/${file}`)

export default () => lib
