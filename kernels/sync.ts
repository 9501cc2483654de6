/**
 * Replicas that go together: at every step the gradients of all of them are averaged and the optimiser takes the mean
 * (H = 1). One task is one replica's part in a window of such steps. Several tasks, on as many workers, exchange the
 * leaves (a replica's gradients of one step) while they run; each of them is a reducer too, and applies the same mean to
 * the same weights, so that no round trip to a reducer stands in a step.
 *
 * A leaf is a pure function of (weights, seed, step, replica), so it does not matter who computes it. A member computes
 * its own replica's leaves and its share of those that no member has; it waits for the others', and computes them too
 * when they do not come in time. Hence a single worker carries a window out alone, and a member that dies, hangs or is
 * slow costs the others time and nothing else. Who comes late is given the state of the step that the others are at.
 *
 * Invariants:
 * 1. Which leaves are averaged, and in which order, follows from the settings alone; who computed them, and when, does
 *    not enter a result. All members that end have the same bytes.
 * 2. A member never waits for another without a limit.
 * 3. What is heard is about this window; the caller sees to that.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { clipGradients } from './clip.ts'
import { assign, readWeights, values, writeWeights } from './compiled.ts'
import type { CompiledModel, ModelWeight } from './compiled.ts'
import type { Dataset } from './data/dataset.ts'
import { dataOrder } from './data/order.ts'
import type { DataOrder } from './data/order.ts'
import { KernelError } from './errors.ts'
import { SYNC_PATIENCE_MIN_MS, SYNC_RESCUES_MAX } from './limits.ts'
import { createOptimizer } from './optimizer.ts'
import type { Optimizer, Parameter } from './optimizer.ts'
import { mean } from './reduce.ts'
import { assertFinite, parametersOf, Tally } from './round.ts'
import type { RoundOptions, RoundResult } from './round.ts'
import { decodeTensors, encodeTensors } from './safetensors.ts'
import type { NamedTensor } from './safetensors.ts'
import { checkSettings, leafOf } from './step.ts'
import type { Leaf, TrainSettings } from './step.ts'

/**
 * What members tell each other. `replica` is the speaker's own, so that whichever message of it comes first says who it is;
 * a leaf is `of` any replica. `step` counts from the window's start.
 */
export type SyncMessage =
  | { kind: 'join'; member: string; replica: number }
  | { kind: 'leaf'; member: string; replica: number; of: number; step: number; bytes: Uint8Array }
  | { kind: 'state'; member: string; replica: number; step: number; bytes: Uint8Array }

export interface Exchange {
  /** This member's name, like no other's: two tasks may work for one replica. */
  member: string
  tell(message: SyncMessage): void
  /** What came since the last call, in its order. */
  heard(): readonly SyncMessage[]
  /** Resolves when there is something to hear, or after this time. */
  wait(ms: number): Promise<void>
}

/** A leaf with what the moving statistics became under it. */
type FullLeaf = Leaf & { statistics: Float32Array[] }

interface Member {
  replica: number
  /** Not waited for: it did not come when it was. */
  absent: boolean
  rescues: number
}

export async function trainTogether(
  compiled: CompiledModel,
  weights: Uint8Array,
  optimizerState: Uint8Array | undefined,
  dataset: Dataset,
  settings: TrainSettings,
  exchange: Exchange,
  options: RoundOptions = {},
): Promise<RoundResult> {
  checkSettings(settings)
  const wallStart = performance.now()
  writeWeights(compiled, weights)
  const window = new Window(
    compiled,
    dataset,
    settings,
    exchange,
    options,
    await parametersOf(compiled),
    optimizerState,
  )
  await window.run()
  const { parameters, tally, optimizer, kernelMs } = window
  assertFinite(parameters, settings)
  return {
    weights: await readWeights(compiled),
    optimizerState: optimizer.encodeState(),
    metrics: tally.metrics(),
    kernelMs,
    wallMs: performance.now() - wallStart,
  }
}

class Window {
  readonly parameters: Parameter[]
  optimizer: Optimizer
  tally = new Tally()
  kernelMs = 0
  readonly #compiled: CompiledModel
  readonly #dataset: Dataset
  readonly #settings: TrainSettings
  readonly #exchange: Exchange
  readonly #options: RoundOptions
  readonly #trainable: ModelWeight[]
  readonly #still: ModelWeight[]
  /** Of the weights that no gradient moves, as they are before the present step. */
  #statistics: Float32Array[] = []
  readonly #orders: DataOrder[]
  readonly #members = new Map<string, Member>()
  /** Of the present step, and of the next where others are ahead. */
  readonly #leaves = new Map<string, FullLeaf>()
  #done = 0
  /** The slowest leaf of this member, for how long another's may take. */
  #leafMs = 0

  constructor(
    compiled: CompiledModel,
    dataset: Dataset,
    settings: TrainSettings,
    exchange: Exchange,
    options: RoundOptions,
    parameters: Parameter[],
    optimizerState: Uint8Array | undefined,
  ) {
    this.#compiled = compiled
    this.#dataset = dataset
    this.#settings = settings
    this.#exchange = exchange
    this.#options = options
    this.parameters = parameters
    this.#trainable = compiled.weights.filter((weight) => weight.trainable)
    this.#still = compiled.weights.filter((weight) => !weight.trainable)
    this.optimizer = createOptimizer(settings.optimizer, parameters, optimizerState)
    this.#orders = settings.batchSizes.map((_, replica) => dataOrder(dataset, { ...settings, replica }))
  }

  async run(): Promise<void> {
    const { localSteps } = this.#settings
    this.#statistics = await this.#readStatistics()
    const { member } = this.#exchange
    const { replica } = this.#settings
    this.#members.set(member, { replica, absent: false, rescues: 0 })
    this.#exchange.tell({ kind: 'join', member, replica })
    while (this.#done < localSteps) {
      const leaves = await this.#gather()
      // A state of a later step came instead: gather that step's.
      if (leaves === null) continue
      await this.#apply(leaves)
    }
    this.#options.signal?.throwIfAborted()
  }

  /** All leaves of the present step, in the order of the replicas; null when the step is over elsewhere. */
  async #gather(): Promise<FullLeaf[] | null> {
    const step = this.#done
    for (;;) {
      if (await this.#hear(step)) return null
      const mine = this.#missing().find((replica) => this.#isMine(replica))
      if (mine === undefined) break
      await this.#compute(mine)
    }
    const patienceMs = Math.max(SYNC_PATIENCE_MIN_MS, 4 * this.#leafMs)
    const until = performance.now() + patienceMs
    for (;;) {
      if (await this.#hear(step)) return null
      const [missing] = this.#missing()
      if (missing === undefined) break
      const leftMs = until - performance.now()
      if (leftMs > 0 && this.#isAwaited(missing)) {
        await this.#exchange.wait(leftMs)
        continue
      }
      for (const other of this.#members.values()) if (other.replica === missing) other.absent = true
      await this.#compute(missing)
    }
    return this.#settings.batchSizes.map((_, replica) => this.#leaves.get(keyOf(step, replica))!)
  }

  #missing(): number[] {
    return [...this.#orders.keys()].filter((replica) => !this.#leaves.has(keyOf(this.#done, replica)))
  }

  /** Replicas that a present member has are that member's; the others are dealt out among the present ones. */
  #isMine(replica: number): boolean {
    const { replica: own } = this.#settings
    if (replica === own) return true
    const present = [...new Set([...this.#members.values()].filter((m) => !m.absent).map((m) => m.replica))].toSorted(
      (a, b) => a - b,
    )
    if (present.includes(replica)) return false
    const orphans = [...this.#orders.keys()].filter((each) => !present.includes(each))
    return present[orphans.indexOf(replica) % present.length] === own
  }

  /** Whether somebody else may be expected to bring this leaf. */
  #isAwaited(replica: number): boolean {
    const others = [...this.#members].filter(([name, { absent }]) => name !== this.#exchange.member && !absent)
    return others.length > 0 && !this.#isMine(replica)
  }

  async #compute(replica: number): Promise<void> {
    const { signal } = this.#options
    signal?.throwIfAborted()
    const step = this.#done
    const settings = { ...this.#settings, replica }
    const start = performance.now()
    this.#write(this.#still, this.#statistics)
    const order = this.#orders[replica]!
    const leaf = await leafOf(
      this.#compiled,
      this.#trainable,
      this.#dataset,
      order,
      settings,
      settings.stepStart + step,
    )
    const full: FullLeaf = { ...leaf, statistics: await this.#readStatistics() }
    const tookMs = performance.now() - start
    this.kernelMs += tookMs
    this.#leafMs = Math.max(this.#leafMs, tookMs)
    this.#leaves.set(keyOf(step, replica), full)
    if (this.#members.size > 1) {
      this.#tellLeaf(replica, step, full)
    }
    this.#options.onStep?.({
      step: step + 1,
      steps: this.#settings.localSteps,
      loss: leaf.loss,
      correct: leaf.correct,
      rows: leaf.rows,
    })
    // Messages of others, and a cancellation, are taken here.
    await nextTurn()
  }

  async #apply(leaves: readonly FullLeaf[]): Promise<void> {
    const start = performance.now()
    const { batchSizes, clip, stepStart } = this.#settings
    const shares = leaves.map(({ rows }) => rows)
    const gradients = new Map<string, Float32Array>()
    for (const {
      name,
      values: { length },
    } of this.parameters) {
      // A weight without influence on the loss has no gradient, in no leaf.
      if (!leaves[0]!.gradients.has(name)) continue
      gradients.set(
        name,
        mean(
          leaves.map((leaf) => leaf.gradients.get(name) ?? new Float32Array(length)),
          shares,
        ),
      )
    }
    this.optimizer.apply(this.parameters, clipGradients(gradients, clip), stepStart + this.#done)
    this.#statistics = this.#statistics.map((_, i) =>
      mean(
        leaves.map(({ statistics }) => statistics[i]!),
        shares,
      ),
    )
    this.#write(
      this.#trainable,
      this.parameters.map((parameter) => parameter.values),
    )
    this.#write(this.#still, this.#statistics)
    this.tally.add({
      loss: leaves.reduce((sum, leaf) => sum + leaf.loss * leaf.rows, 0) / shares.reduce((sum, rows) => sum + rows, 0),
      rows: shares.reduce((sum, rows) => sum + rows, 0),
      ...(leaves[0]!.correct !== undefined && { correct: leaves.reduce((sum, leaf) => sum + (leaf.correct ?? 0), 0) }),
    })
    for (const replica of batchSizes.keys()) this.#leaves.delete(keyOf(this.#done, replica))
    this.#done += 1
    this.kernelMs += performance.now() - start
  }

  /** Takes what the others said. Says whether the present step is over by that. */
  async #hear(step: number): Promise<boolean> {
    this.#options.signal?.throwIfAborted()
    let isWelcome = false
    for (const message of this.#exchange.heard()) {
      if (message.member === this.#exchange.member) continue
      const known = this.#members.get(message.member)
      const member = known ?? { replica: message.replica, absent: false, rescues: 0 }
      this.#members.set(message.member, member)
      if (message.kind === 'join') {
        isWelcome = true
      } else if (message.kind === 'leaf') {
        isWelcome = this.#takeLeaf(message, member) || isWelcome
      } else if (message.step > this.#done) {
        this.#adopt(message)
      }
    }
    if (isWelcome) await this.#welcome()
    return this.#done !== step
  }

  /** Says whether the one who sent it must be told where we are. */
  #takeLeaf({ step, of, bytes }: Extract<SyncMessage, { kind: 'leaf' }>, member: Member): boolean {
    if (step >= this.#done) {
      member.absent = false
      if (!this.#leaves.has(keyOf(step, of))) this.#leaves.set(keyOf(step, of), this.#decodeLeaf(bytes))
      return false
    }
    if (!member.absent || member.rescues >= SYNC_RESCUES_MAX) return false
    // It lives, and is behind: it may go on from where we are.
    member.rescues += 1
    member.absent = false
    return true
  }

  /** Tells who has come, or was left behind, where we are: the state before the present step, and its leaves so far. */
  async #welcome(): Promise<void> {
    if (this.#done > 0) this.#tellState()
    for (const [key, leaf] of this.#leaves) {
      const [step = 0, of = 0] = key.split('.').map(Number)
      this.#tellLeaf(of, step, leaf)
    }
    await nextTurn()
  }

  #tellLeaf(of: number, step: number, leaf: FullLeaf): void {
    const { member } = this.#exchange
    const { replica } = this.#settings
    this.#exchange.tell({ kind: 'leaf', member, replica, of, step, bytes: this.#encodeLeaf(leaf) })
  }

  async #readStatistics(): Promise<Float32Array[]> {
    return await Promise.all(this.#still.map(async ({ variable }) => (await values(variable)).slice()))
  }

  #write(weights: readonly ModelWeight[], data: readonly Float32Array[]): void {
    for (const [i, weight] of weights.entries()) assign(this.#compiled.backend.tf, weight, data[i]!)
  }

  #encodeLeaf({ loss, correct, rows, gradients, statistics }: FullLeaf): Uint8Array {
    const tensors: NamedTensor[] = [
      { name: 'facts', shape: [3], dtype: 'F64', data: Float64Array.of(loss, rows, correct ?? -1) },
    ]
    for (const [name, data] of gradients) tensors.push({ name: `gradient/${name}`, shape: [data.length], dtype: 'F32', data }) // prettier-ignore
    for (const [i, data] of statistics.entries()) tensors.push({ name: `statistic/${i}`, shape: [data.length], dtype: 'F32', data }) // prettier-ignore
    return encodeTensors(tensors)
  }

  #decodeLeaf(bytes: Uint8Array): FullLeaf {
    const { tensors } = decodeTensors(bytes)
    const facts = tensors.find((tensor) => tensor.name === 'facts')
    if (facts?.dtype !== 'F64') throw new KernelError('weights.malformed', 'A leaf of another member says no loss')
    const [loss = Number.NaN, rows = 0, correct = -1] = facts.data
    const leaf: FullLeaf = { loss, rows, gradients: new Map(), statistics: [], ...(correct >= 0 && { correct }) }
    for (const tensor of tensors) {
      if (tensor.dtype !== 'F32') continue
      if (tensor.name.startsWith('statistic/')) leaf.statistics.push(tensor.data)
      else leaf.gradients.set(tensor.name.slice('gradient/'.length), tensor.data)
    }
    return leaf
  }

  /** The state before the present step: all that another member needs to go on from here. */
  #tellState(): void {
    const { member } = this.#exchange
    const tensors: NamedTensor[] = [{ name: 'tally', shape: [5], dtype: 'F64', data: this.tally.state() }]
    for (const { name, shape, values: data } of this.parameters) tensors.push({ name: `weight/${name}`, shape, dtype: 'F32', data }) // prettier-ignore
    for (const [i, data] of this.#statistics.entries()) tensors.push({ name: `statistic/${i}`, shape: [data.length], dtype: 'F32', data }) // prettier-ignore
    const bytes = this.optimizer.encodeState(tensors)
    this.#exchange.tell({ kind: 'state', member, replica: this.#settings.replica, step: this.#done, bytes })
  }

  #adopt({ step, bytes }: Extract<SyncMessage, { kind: 'state' }>): void {
    const { tensors } = decodeTensors(bytes)
    const found = new Map(tensors.map((tensor) => [tensor.name, tensor]))
    const floats = (name: string): Float32Array => {
      const tensor = found.get(name)
      if (tensor?.dtype === 'F32') return tensor.data.slice()
      throw new KernelError('weights.mismatch', `The state of another member has no ${name}`, { name })
    }
    const tally = found.get('tally')
    if (tally?.dtype === 'F64') this.tally = Tally.of(tally.data)
    for (const parameter of this.parameters) parameter.values = floats(`weight/${parameter.name}`)
    this.#statistics = this.#statistics.map((_, i) => floats(`statistic/${i}`))
    this.optimizer = createOptimizer(this.#settings.optimizer, this.parameters, bytes)
    this.#write(
      this.#trainable,
      this.parameters.map((parameter) => parameter.values),
    )
    this.#write(this.#still, this.#statistics)
    for (const key of this.#leaves.keys()) if (Number(key.split('.')[0]) < step) this.#leaves.delete(key)
    this.#done = step
  }
}

function keyOf(step: number, replica: number): string {
  return `${step}.${replica}`
}
