// Clients that connect and disconnect. They run in a process of their own, so their memory is not measured.
import http2 from 'node:http2'
import net from 'node:net'

const [, , port, http2Port, seed] = process.argv.map(Number)
const VISITORS = 150
const SESSIONS = 10
const STREAMS = 10
const ROOMS = 300
const STAY_MS = 1_000

// The parent has finished or has exited.
process.once('disconnect', () => process.exit())

let state = seed
function random () {
  state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
  return state / 2 ** 32
}

const path = () => `/api/chats/${Math.floor(random() * ROOMS)}/events`

/**
 * Opens a stream, often where the last one ended, and leaves it: some politely, some by a reset, some without having
 * read a byte.
 */
function visit (room = path(), lastEventId = '') {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(
    `GET ${room} HTTP/1.1\r\nHost: x\r\nAuthorization: ${Math.floor(random() * 50)}\r\n` +
      `${lastEventId && `Last-Event-ID: ${lastEventId}\r\n`}\r\n`
  )
  if (random() < 0.1) socket.pause()
  else {
    socket.setEncoding('latin1').on('data', (text) => {
      lastEventId = text.match(/^id: (\S+)$/m)?.[1] ?? lastEventId
    })
  }
  const timer = setTimeout(() => random() < 0.5 ? socket.end() : socket.resetAndDestroy(), random() * STAY_MS)
  const late = setTimeout(() => socket.destroy(), 2 * STAY_MS)
  socket.once('close', () => {
    clearTimeout(timer)
    clearTimeout(late)
    random() < 0.5 ? visit(room, lastEventId) : visit()
  })
}

/** Opens streams on one session of HTTP/2, resets them one by one, then the session. */
function gather () {
  const session = http2.connect(`http://127.0.0.1:${http2Port}`).on('error', () => {})
  for (let n = 0; n < STREAMS; n++) {
    const stream = session.request({ ':path': path(), authorization: `${n}` }).on('error', () => {})
    stream.resume()
    setTimeout(() => stream.close(http2.constants.NGHTTP2_CANCEL), random() * STAY_MS)
  }
  setTimeout(() => random() < 0.5 ? session.close() : session.destroy(), STAY_MS)
  session.once('close', gather)
}

for (let n = 0; n < VISITORS; n++) visit()
for (let n = 0; n < SESSIONS; n++) gather()
