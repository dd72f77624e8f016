import net from 'node:net'

export const GET = 'GET /api/chats/c/events HTTP/1.1\r\nHost: x\r\n\r\n'

export const port = (url: string): number => Number(new URL(url).port)

export const connect = (url: string): net.Socket => net.connect(port(url), '127.0.0.1').on('error', () => {})

export const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
