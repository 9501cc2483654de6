/**
 * A scenario: everything about a run that its seed decides beforehand. It is plain data, so that a run can be repeated
 * with less of it: fewer nodes, fewer operations, fewer faults.
 */
import { address } from '../../runtime/address.ts'
import type { ActorAddress, ShardName } from '../../runtime/address.ts'
import { LIMITS } from '../../runtime/limits.ts'
import type { Limits } from '../../runtime/limits.ts'
import { SeededRandom } from '../../runtime/testing/seeded-random.ts'
import type { Transport } from '../../runtime/transport.ts'
import type {
  BroodEvent,
  DoEvent,
  HaltEvent,
  Hop,
  PassEvent,
  PoisonEvent,
  RearEvent,
  TimerEvent,
  Version,
} from './actors.ts'
import { AUTOMATON_EVENTS } from './automaton.ts'
import type { AutomatonEvent } from './automaton.ts'
import type { ProcessFault } from './faults.ts'

export type LoadEvent =
  | AutomatonEvent
  | PassEvent
  | PoisonEvent
  | BroodEvent
  | RearEvent
  | DoEvent
  | HaltEvent
  | TimerEvent

/** One thing that a client does. */
export interface Operation {
  readonly atMs: number
  readonly client: number
  readonly how: 'tell' | 'ask'
  readonly to: ActorAddress
  readonly event: LoadEvent
}

export interface Scenario {
  readonly seed: number
  readonly shards: number
  readonly nodes: number
  readonly stations: number
  readonly clients: number
  readonly limits: Limits
  readonly actors: readonly ActorAddress[]
  /** The version of the code that each role starts with. A process that takes the place of another may have the newer. */
  readonly versions: Readonly<Record<string, Version>>
  /** Whether the fleet is upgraded: in the end every node runs the newer code. */
  readonly isUpgrade: boolean
  readonly operations: readonly Operation[]
  /** How likely each command is to be hit by a fault while the load lasts. */
  readonly commandFaults: number
  readonly processFaults: readonly ProcessFault[]
  /** When the faults end and the world heals. */
  readonly healAtMs: number
  /** The only faults that happen, by name; null for all that are drawn. */
  readonly only: readonly string[] | null
}

/** What a caller may ask to be less than the seed says. */
export interface Reduction {
  readonly nodes?: number
  /** Which operations are kept, by their place in the list. */
  readonly operations?: readonly number[]
  readonly only?: readonly string[]
}

export function scenarioOf(seed: number, reduction: Reduction = {}): Scenario {
  const random = new SeededRandom(seed, 'scenario')
  const nodes = random.int(1, 4)
  const stations = random.int(0, 2)
  const clients = random.int(1, 3)
  const healAtMs = random.int(4, 25) * 1_000
  const limits = limitsOf(random)
  const actors = actorsOf(random, stations)
  const upgrade = new SeededRandom(seed, 'upgrade')
  const isUpgrade = upgrade.chance(0.3)
  const versions = versionsOf(upgrade, nodes, stations, isUpgrade)
  const operations = operationsOf(random, actors, clients, healAtMs, isUpgrade ? upgrade : null)
  // Some runs are nearly quiet, so that a process fault meets a cluster at rest; some are a storm.
  const commandFaults = random.pick([0, 0.002, 0.01, 0.01, 0.03, 0.06])
  const processFaults = processFaultsOf(random, nodes, stations, clients, healAtMs)
  const scenario: Scenario = {
    seed,
    shards: random.pick([1, 2, 4, 6]),
    nodes,
    stations,
    clients,
    limits,
    actors,
    versions,
    isUpgrade,
    operations,
    commandFaults,
    processFaults,
    healAtMs,
    only: null,
  }
  return {
    ...scenario,
    nodes: Math.min(nodes, reduction.nodes ?? nodes),
    operations: reduction.operations?.flatMap((i) => operations[i] ?? []) ?? operations,
    only: reduction.only ?? null,
  }
}

/** Mixed from the start: a rolling upgrade that has begun. */
function versionsOf(
  random: SeededRandom,
  nodes: number,
  stations: number,
  isUpgrade: boolean,
): Record<string, Version> {
  const roles = [
    ...Array.from({ length: nodes }, (_, i) => `node${i}`),
    ...Array.from({ length: stations }, (_, i) => `station${i}`),
  ]
  return Object.fromEntries(roles.map((role) => [role, isUpgrade && random.chance(0.5) ? 2 : 1]))
}

/** Small maxima, so that every limit is met: batches of one, a mailbox that is full, cells that are dropped. */
function limitsOf(random: SeededRandom): Limits {
  const batchMax = random.pick([1, 2, 7, 256])
  return {
    ...LIMITS,
    batchMax,
    commitsInFlightMax: random.int(1, 4),
    mailStreamMin: random.pick([1, 1, 16]),
    mailboxMax: random.pick([batchMax + 1, batchMax + 4, 10_000]),
    deliveryMax: random.pick([1, 3, 512]),
    timersDueMax: random.pick([1, 4, 1_000]),
    cellsMax: random.pick([1, 3, 20_000]),
    commandTimeoutMs: random.pick([800, 5_000]),
    askTimeoutMs: random.pick([1_000, 5_000]),
  }
}

function actorsOf(random: SeededRandom, stations: number): ActorAddress[] {
  const many = (kind: string, count: number) =>
    Array.from({ length: count }, (_, i) => address(kind, `${kind[0] ?? ''}${i}`))
  return [
    ...many('ledger', random.int(2, 5)),
    ...many('brittle', random.int(0, 1)),
    ...many('errand', random.int(1, 2)),
    ...many('automaton', random.int(0, 2)),
    ...many('waiter', random.int(1, 2)),
    ...many('station', stations),
  ]
}

function operationsOf(
  random: SeededRandom,
  actors: readonly ActorAddress[],
  clients: number,
  healAtMs: number,
  upgrade: SeededRandom | null,
): Operation[] {
  const count = random.int(10, 70)
  const operations: Operation[] = []
  let atMs = 0
  for (let i = 0; i < count; i++) {
    // Bursts: many at once, then a while of nothing.
    atMs += random.chance(0.6) ? 0 : random.next() * 2 * (healAtMs / count)
    const client = random.int(0, clients - 1)
    const to = random.pick(actors)
    const lane = random.chance(0.15) ? ('hi' as const) : ('in' as const)
    const marked = { n: `m${i}`, from: `c${client}`, lane }
    const how = random.chance(0.3) ? 'ask' : 'tell'
    operations.push({
      atMs: Math.min(atMs, healAtMs),
      client,
      how,
      to,
      event: eventFor(random, to, marked, actors, upgrade),
    })
  }
  return operations
}

function eventFor(
  random: SeededRandom,
  to: ActorAddress,
  marked: { readonly n: string; readonly from: string; readonly lane: 'hi' | 'in' },
  actors: readonly ActorAddress[],
  upgrade: SeededRandom | null,
): LoadEvent {
  const takers = actors.filter((actor) => !/^(waiter|automaton)\//.test(actor))
  const next = (depth: number): Hop[] =>
    Array.from({ length: depth === 0 ? 0 : random.int(0, 2) }, () => ({
      to: random.pick(takers),
      control: random.chance(0.2),
      next: next(depth - 1),
    }))
  const kind = to.slice(0, to.indexOf('/'))
  const chance = random.next()
  if (kind === 'automaton') return { type: random.pick(AUTOMATON_EVENTS), ...marked }
  if (kind === 'waiter') {
    const type = random.pick(['arm', 'arm', 'both', 'both', 'remind', 'unremind', 'disarm'] as const)
    return { type, ...marked }
  }
  if (kind === 'errand' || kind === 'station') {
    if (chance < 0.15) return { type: 'halt', ...marked }
    if (chance < 0.4) return { type: 'pass', next: next(2), ...marked }
    const ms = random.pick([0, 5, 300, 3_000])
    const mode = { ms, fails: random.chance(0.3) ? random.int(1, 3) : 0, givesUp: random.chance(0.1) }
    return { type: 'do', mode, ...marked }
  }
  if (chance < 0.12) {
    return { type: 'poison', wrong: random.pick(['throw', 'throw', 'bigint', 'circular']), next: next(1), ...marked }
  }
  if (chance < 0.2) {
    const near = random.chance(0.5) // in the same shard as its parent, or anywhere
    const id = near ? `${to.slice(to.indexOf('/') + 1)}.${marked.n}` : `child-${marked.n}`
    // A kind that only the newer code knows.
    const child = address(upgrade?.chance(0.3) === true ? 'novice' : 'ledger', id)
    return { type: 'brood', child, ...marked }
  }
  if (chance < 0.32) {
    const id = random.chance(0.5) ? `${to.slice(to.indexOf('/') + 1)}.${marked.n}` : `child-${marked.n}`
    const fate = random.pick(['done', 'done', 'later', 'fail', 'never'] as const)
    return { type: 'rear', child: address('mortal', id), fate, ...marked }
  }
  return { type: 'pass', next: next(3), ...marked }
}

function processFaultsOf(
  random: SeededRandom,
  nodes: number,
  stations: number,
  clients: number,
  healAtMs: number,
): ProcessFault[] {
  const count = random.pick([0, 1, 2, 4, 7])
  const rollback: ProcessFault = {
    id: 'server!rollback',
    atMs: healAtMs * (0.2 + random.next() * 0.7),
    process: 'server',
    kind: 'rollback',
    forMs: 5 * 400 ** random.next(), // 5 ms to 2 s of acknowledged writes are lost
    sameName: false,
  }
  const rollbacks = random.chance(0.3) ? [rollback] : []
  const others = Array.from({ length: count }, (_, i): ProcessFault => {
    const target = random.next()
    const process =
      target < 0.75 || stations + clients === 0
        ? `node${random.int(0, nodes - 1)}`
        : target < 0.9 && stations > 0
          ? `station${random.int(0, stations - 1)}`
          : `client${random.int(0, clients - 1)}`
    const kinds = process.startsWith('client')
      ? (['pause', 'partition'] as const)
      : (['crash', 'crash', 'pause', 'partition', 'leave'] as const)
    const kind = random.pick(kinds)
    return {
      id: `${process}!${i}:${kind}`,
      atMs: random.next() * healAtMs,
      process,
      kind,
      forMs: 50 * 160 ** random.next(), // 50 ms to 8 s
      sameName: random.chance(0.4),
    }
  })
  return [...others, ...rollbacks]
}

/** In a Cluster of two masters, a failover throws back one of them: this says whether a shard is its own. */
export function isThrownBack(seed: number, shard: ShardName | null): boolean {
  if (reachOf(seed) === 'every shard') return true
  let sum = seed >> 1
  for (const char of shard ?? '') sum += char.charCodeAt(0)
  return sum % 2 === 0
}

/** Half of the seeds behave as one Redis, half as a Cluster, where sends between shards go through the outbox. */
export function reachOf(seed: number): Transport['reach'] {
  return seed % 2 === 0 ? 'every shard' : 'own shard'
}
