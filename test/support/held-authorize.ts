import { EventEmitter, once } from 'node:events'
import type { AccessGrant } from '../../lib/index.ts'

/** An `authorize` whose calls wait until the test resolves them. */
export class HeldAuthorize {
  readonly #calls = new EventEmitter()
  #resolve = (_result: boolean | AccessGrant): void => {}

  readonly authorize = (): Promise<boolean | AccessGrant> => new Promise((resolve) => {
    this.#resolve = resolve
    this.#calls.emit('call')
  })

  /** Resolves at the next call. */
  async nextCall (): Promise<void> {
    await once(this.#calls, 'call')
  }

  /** Resolves the latest call. */
  resolve (result: boolean | AccessGrant): void {
    this.#resolve(result)
  }
}
