import type { Test } from 'tap'
import { startExampleDatabase } from './example-database.ts'
import { RedisServer } from './redis-server.ts'

/** What the instances of the example app share. */
export interface ExampleServices {
  redis: RedisServer
  env: { REDIS_URL: string, DATABASE_URL: string }
}

/** Starts a Redis and a database. They are stopped with the test. */
export async function startExampleServices (t: Test): Promise<ExampleServices> {
  const [redis, DATABASE_URL] = await Promise.all([RedisServer.start(), startExampleDatabase(t)])
  t.teardown(() => redis.stop())
  return { redis, env: { REDIS_URL: redis.url, DATABASE_URL } }
}
