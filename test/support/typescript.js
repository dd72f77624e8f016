import { register } from 'node:module'

register('./typescript-loader.js', import.meta.url)
// tap turns them on, and Node then reads the map of every module. Here a line of code is a line of its source.
process.setSourceMapsEnabled(false)
