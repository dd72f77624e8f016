import type { Redis } from 'ioredis'
import { infoField } from '../../pubsub/redis/eviction.ts'

/** One Redis server, as the checks look at it. Each question is asked once. */
export class Server {
  readonly client: Redis
  readonly address: string
  readonly keyPrefix: string
  #info: Promise<string> | undefined

  constructor (client: Redis, address: string, keyPrefix: string) {
    this.client = client
    this.address = address
    this.keyPrefix = keyPrefix
  }

  /** Resolves with a field of INFO, or with an empty string. */
  async info (field: string): Promise<string> {
    this.#info ??= this.client.info()
    return infoField(await this.#info, field) ?? ''
  }

  /** Resolves with all of INFO. */
  async allInfo (): Promise<string> {
    await this.info('')
    return await (this.#info as Promise<string>)
  }

  /** Resolves with a setting of redis.conf. */
  async config (name: string): Promise<string> {
    const [, value = ''] = await this.client.config('GET', name) as string[]
    return value
  }
}
