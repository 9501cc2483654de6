/** Which sends of a shard are still on their way, so that the stream of them can be trimmed: all up to `trimmed` have arrived. */
export class Outbox {
  #underWay = new Set<number>() // insertion order is seq order
  #newest: number

  constructor(newest: number) {
    this.#newest = newest
  }

  get trimmed(): number {
    for (const oldest of this.#underWay) return oldest - 1
    return this.#newest
  }

  add(seq: number): void {
    this.#underWay.add(seq)
    if (seq > this.#newest) this.#newest = seq
  }

  delivered(seq: number): void {
    this.#underWay.delete(seq)
  }
}
