const END = Buffer.from('\r\n')

let last: Buffer | undefined
let framed: Buffer

/**
 * Frames the bytes as one chunk of `transfer-encoding: chunked`. A room writes the same buffer to each of its streams,
 * so the last result is cached.
 */
export function chunked (bytes: Buffer): Buffer {
  if (bytes !== last) {
    framed = Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, END])
    last = bytes
  }
  return framed
}
