import { createRequire } from 'node:module'
import { createElement, StrictMode, type ReactElement } from 'react'
import type { Test } from 'tap'
import type { RealtimeClient } from '../../../lib/client/index.ts'
import { RealtimeProvider } from '../../../lib/react/index.ts'
import { inTime } from '../../support/in-time.ts'

interface Renderer {
  update (element: ReactElement): void
  unmount (): void
}

// It has no types of its own.
const { act, create } = createRequire(import.meta.url)('react-test-renderer') as {
  act (change: () => void): void
  create (element: ReactElement, options: { unstable_isConcurrent: boolean }): Renderer
}

/** Components below a provider in StrictMode, in a renderer of React that needs no browser. */
export class Page<Seen> {
  /** What the components have shown, the latest last. */
  readonly seen: Seen[] = []
  readonly #client: RealtimeClient
  #renderer: Renderer | undefined
  #check = (): void => {}

  constructor (t: Test, client: RealtimeClient) {
    this.#client = client
    t.teardown(() => this.show(undefined))
  }

  /** Renders an element, or nothing, and runs its effects. */
  show (element: ReactElement | undefined, client = this.#client): void {
    const tree = createElement(StrictMode, null, createElement(RealtimeProvider, { client }, element))
    asInTests(() => act(() => {
      if (this.#renderer === undefined) this.#renderer = create(tree, { unstable_isConcurrent: true })
      else this.#renderer.update(tree)
    }))
  }

  /** Called by a component with what it shows. */
  readonly see = (shown: Seen): void => {
    this.seen.push(shown)
    this.#check()
  }

  /** Resolves once the components have shown something that fulfils a condition. */
  async shows (fulfilled: (shown: Seen) => boolean): Promise<void> {
    await inTime(new Promise<void>((resolve) => {
      const before = this.#check
      this.#check = () => {
        before()
        const last = this.seen.at(-1)
        if (last !== undefined && fulfilled(last)) resolve()
      }
      this.#check()
    }), String(fulfilled))
  }
}

/** Effects run at once in `act`. Events that arrive later are rendered as in a browser. */
function asInTests (change: () => void): void {
  const scope = globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }
  scope.IS_REACT_ACT_ENVIRONMENT = true
  change()
  scope.IS_REACT_ACT_ENVIRONMENT = false
}
