/**
 * A process of the simulation: everything that a node or a client does runs through its gate. A paused process runs
 * nothing until it is resumed (SIGSTOP), a dead one nothing ever again (SIGKILL): its memory is simply never reached.
 */
import type { Clock } from '../../runtime/clock.ts'
import type { VirtualClock } from '../../runtime/testing/virtual-clock.ts'

export class SimProcess implements Clock {
  readonly name: string
  readonly #clock: VirtualClock
  #held: (() => void)[] = []
  alive = true
  paused = false
  partitioned = false

  constructor(name: string, clock: VirtualClock) {
    this.name = name
    this.#clock = clock
  }

  run(work: () => void): void {
    if (!this.alive) return
    if (this.paused) this.#held.push(work)
    else work()
  }

  resume(): void {
    this.paused = false
    const held = this.#held
    this.#held = []
    for (const work of held) this.#clock.at(this.#clock.now(), () => this.run(work))
  }

  kill(): void {
    this.alive = false
    this.#held = []
  }

  now(): number {
    return this.#clock.now()
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted === true) {
        resolve()
        return
      }
      const wake = (): void => {
        callOff()
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      const callOff = this.#clock.at(this.#clock.now() + ms, () => this.run(wake))
      signal?.addEventListener('abort', wake, { once: true })
    })
  }
}
