interface Listen {
  (event: ClientEvent, listener: () => void): unknown
  (event: 'error', listener: (error: Error) => void): unknown
  (event: 'messageBuffer' | 'smessageBuffer', listener: (channel: Buffer, message: Buffer) => void): unknown
  (event: 'pmessageBuffer', listener: (pattern: string, channel: Buffer, message: Buffer) => void): unknown
}

type ClientEvent = 'ready' | 'close' | 'end' | 'moved' | 'refresh' | '+node'

/** The part of an ioredis client that the plugin uses. Clients of ioredis 5 and 6 both satisfy this type. */
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
  sendCommand (command: { readonly name: string, promise: Promise<unknown> }): unknown
}

/** An ioredis `Redis`: connects to a single Redis server, or to the primary reported by Sentinel. */
export interface StandaloneClient extends AnyClient {
  /** Undefined while the client is not connected. */
  readonly stream: { cork (): void, uncork (): void } | undefined
  readonly options: AnyClient['options'] & { readonly db?: number | undefined }
  /** State of the current connection, such as the selected database. `null` before the first connection. */
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

/** An ioredis `Cluster`. */
export interface ClusterClient extends AnyClient {
  readonly options: AnyClient['options'] & { readonly redisOptions?: object | undefined }
  /** For each slot, its nodes as `host:port`, primary first. */
  readonly slots: readonly (readonly string[])[]
  nodes (role?: 'master'): (StandaloneClient & {
    readonly options: { readonly host?: string | undefined, readonly port?: number | undefined }
  })[]
  refreshSlotsCache (): void
  /** If `startupNodes` is empty, the copy uses the startup nodes of this client. */
  duplicate (startupNodes: never[], options: object): ClusterClient
}

/** A client of ioredis 5 or 6, either a `Redis` or a `Cluster`. */
export type RedisClient = StandaloneClient | ClusterClient

/** Checks the flag, not the class: the app's client may come from another copy of ioredis. */
export function isCluster (client: RedisClient): client is ClusterClient {
  return client.isCluster
}

/** Returns the number of the database that the client uses now. A Cluster has only database 0. */
export function databaseOf (client: RedisClient): number {
  return isCluster(client) ? 0 : client.condition?.select ?? client.options.db ?? 0
}
