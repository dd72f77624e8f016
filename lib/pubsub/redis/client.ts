interface Listen {
  (event: ClientEvent, listener: () => void): unknown
  (event: 'error', listener: (error: Error) => void): unknown
  (event: 'messageBuffer' | 'smessageBuffer', listener: (channel: Buffer, message: Buffer) => void): unknown
  (event: 'pmessageBuffer', listener: (pattern: string, channel: Buffer, message: Buffer) => void): unknown
}

type ClientEvent = 'ready' | 'close' | 'end' | 'moved' | 'refresh' | '+node'

/** What the plugin uses of any ioredis client. Typed by that, so that clients of ioredis 5 and of 6 both fit, whichever is installed. */
interface AnyClient {
  readonly status: string
  readonly isCluster: boolean
  readonly options: { readonly keyPrefix?: string | undefined }
  on: Listen
  off: Listen
  once: Listen
  connect (): Promise<void>
  disconnect (): void
  quit (): Promise<unknown>
  ping (): Promise<string>
  publish (channel: string, message: Buffer | string): Promise<unknown>
  hmget (key: string, ...fields: string[]): Promise<(string | null)[]>
  sendCommand (command: { readonly name: string, promise: Promise<unknown> }): unknown
}

/** A client of one Redis, or of the primary that Sentinels name: a `Redis` of ioredis. */
export interface StandaloneClient extends AnyClient {
  /** Absent while it is not connected. */
  readonly stream: { cork (): void, uncork (): void } | undefined
  readonly options: AnyClient['options'] & { readonly db?: number | undefined }
  /** What its connection has been asked for; `null` before there was one. */
  readonly condition: { readonly select?: number | undefined } | null
  duplicate (options: object): StandaloneClient
  info (section: string): Promise<string>
  subscribe (...channels: string[]): Promise<unknown>
  unsubscribe (...channels: string[]): Promise<unknown>
  psubscribe (...patterns: string[]): Promise<unknown>
  punsubscribe (...patterns: string[]): Promise<unknown>
  ssubscribe (...channels: string[]): Promise<unknown>
  sunsubscribe (...channels: string[]): Promise<unknown>
}

/** A `Cluster` of ioredis. */
export interface ClusterClient extends AnyClient {
  readonly options: AnyClient['options'] & { readonly redisOptions?: object | undefined }
  /** The nodes of each slot, as `host:port`, the primary first. */
  readonly slots: readonly (readonly string[])[]
  nodes (role?: 'master'): (StandaloneClient & { readonly options: { readonly host?: string | undefined, readonly port?: number | undefined } })[]
  refreshSlotsCache (): void
  /** Without startup nodes, those of this one. */
  duplicate (startupNodes: never[], options: object): ClusterClient
}

/** A client of ioredis 5 or 6: a `Redis` or a `Cluster`. */
export type RedisClient = StandaloneClient | ClusterClient

/** By its flag, since the app's client may come from another copy of ioredis. */
export function isCluster (client: RedisClient): client is ClusterClient {
  return client.isCluster
}

/** The number of the database that a client uses now. A Cluster has one only. */
export function databaseOf (client: RedisClient): number {
  return isCluster(client) ? 0 : client.condition?.select ?? client.options.db ?? 0
}
