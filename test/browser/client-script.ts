import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const { outputFiles: [client] } = await build({
  entryPoints: [fileURLToPath(new URL('../../dist/client/index.js', import.meta.url))],
  bundle: true,
  minify: true,
  format: 'iife',
  globalName: 'realtime',
  write: false
})

/** The client as a script for a page, where it is called `realtime`. */
export const clientScript = `${client?.text.replaceAll('</script', '<\\/script')}`
