// @ts-check
import { DatabaseChild } from './cluster/database.js'
import { freePorts } from './cluster/free-ports.js'
import { Instance } from './cluster/instance.js'
import { buildProxy } from './cluster/proxy.js'
import { redisChild } from './cluster/redis.js'

const INSTANCES = 3
const { PORT = '3000', HOST = '127.0.0.1', DATABASE_URL } = process.env

const stopping = new AbortController()
/** Stops everything that was started. The last one is called first. @type {(() => Promise<unknown>)[]} */
const stops = []

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, stop)

try {
  await start()
} catch (error) {
  if (!stopping.signal.aborted) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  }
  await stop()
}

async function start () {
  const [redisPort = 0, databasePort = 0, ...ports] = await freePorts(2 + INSTANCES)

  const redis = redisChild(redisPort, () => {})
  const database = new DatabaseChild(databasePort, (line) => console.log(`database | ${line}`))
  await run(DATABASE_URL === undefined ? [redis, database] : [redis])
  const urls = { redisUrl: `redis://127.0.0.1:${redisPort}`, databaseUrl: DATABASE_URL ?? database.url }

  const instances = ports.map((port, index) => {
    const name = `chat-${index + 1}`
    return new Instance(name, port, urls, (line) => console.log(`${name} | ${line}`))
  })
  await run(instances)

  const proxy = await buildProxy(instances)
  stopping.signal.throwIfAborted()
  stops.push(() => proxy.close())
  const url = await proxy.listen({ port: Number(PORT), host: HOST })

  console.log([
    '',
    `The chat is open at ${url}, a proxy in front of`,
    ...instances.map(({ name, url, pid }) => `  ${name}  ${url}  (kill ${pid} to see what happens)`),
    `They share the Redis at port ${redisPort} and a database. Ctrl+C stops everything.`
  ].join('\n'))
}

/** Starts processes at the same time. @param {readonly import('./cluster/child.js').Child[]} children */
async function run (children) {
  stopping.signal.throwIfAborted()
  stops.push(() => Promise.all(children.map((child) => child.stop())))
  await Promise.all(children.map((child) => child.start()))
}

async function stop () {
  stopping.abort()
  for (let next = stops.pop(); next !== undefined; next = stops.pop()) await next()
}
