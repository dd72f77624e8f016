/** A pause that something else can end. */
export class Waker {
  #isAwake = false
  #end = (): void => {}

  /** Ends the pause, or the next one if there is none. */
  wake (): void {
    this.#isAwake = true
    this.#end()
  }

  /** From now on, only a later `wake` counts. */
  rest (): void {
    this.#isAwake = false
  }

  /** Resolves after `ms` milliseconds, or at `wake`. The timer does not keep the process alive. */
  async pause (ms: number): Promise<void> {
    if (this.#isAwake) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms).unref()
      this.#end = () => { clearTimeout(timer); resolve() }
    })
  }
}
