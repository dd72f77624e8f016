/** The pauses of a loop, which can be cut short. Its timers do not keep the process alive. */
export class Pause {
  #hasEnded = false
  #isAwake = false
  /** Ends the current pause. */
  #cut = (): void => {}
  /** Ends the current pause, if `wake` may do that. */
  #wake = (): void => {}

  /** Whether the loop has to end. */
  get hasEnded (): boolean {
    return this.#hasEnded
  }

  /** Ends the loop: no pause lasts any longer. */
  end (): void {
    this.#hasEnded = true
    this.#cut()
  }

  /** Ends the pause of `sleepUntilWoken`, or the next one if there is none. */
  wake (): void {
    this.#isAwake = true
    this.#wake()
  }

  /** From now on, only a later `wake` counts. */
  rest (): void {
    this.#isAwake = false
  }

  /** Pauses, however often the loop is woken. */
  async sleep (ms: number): Promise<void> {
    await this.waitFor(new Promise<never>(() => {}), ms)
  }

  async sleepUntilWoken (ms: number): Promise<void> {
    if (this.#isAwake) return
    await this.waitFor(new Promise<void>((resolve) => { this.#wake = resolve }), ms)
  }

  /** Waits until a promise has settled, at most `ms` milliseconds. */
  async waitFor (promise: Promise<unknown>, ms: number): Promise<void> {
    if (this.#hasEnded) return
    let timer: NodeJS.Timeout | undefined
    await Promise.race([promise, new Promise<void>((resolve) => {
      this.#cut = resolve
      timer = setTimeout(resolve, ms).unref()
    })])
    clearTimeout(timer)
  }
}
