/** Runs one scenario from its start to its judgement. The same scenario gives the same history, to the last byte. */
import type { ActorAddress } from '../../runtime/address.ts'
import type { Client } from '../../runtime/client.ts'
import { RuntimeError } from '../../runtime/errors.ts'
import { check } from './checker.ts'
import { evidenceOf, remainsIn, restless } from './evidence.ts'
import type { History, Sent } from './history.ts'
import type { SimProcess } from './process.ts'
import type { Operation, Scenario } from './scenario.ts'
import { World } from './world.ts'

export interface RunResult {
  readonly seed: number
  readonly violations: readonly string[]
  /** The faults that happened, by name, in their order. */
  readonly faults: readonly string[]
  /** How often each thing happened (`history.ts`). */
  readonly seen: Readonly<Record<string, number>>
  readonly virtualMs: number
  readonly hash: string
  readonly trace: readonly string[]
}

/** Within so much time of peace everything must come to rest. */
const PEACE_MS = 90_000
const SETUP_MS = 60_000
const LOOK_MS = 500

export async function simulate(scenario: Scenario, traced = false): Promise<RunResult> {
  const world = new World(scenario, traced)
  const { history } = world
  const clients = await prepare(world)
  if (clients !== null) {
    const begun = world.clock.now()
    world.beginFaults()
    for (const operation of scenario.operations) {
      const user = clients[operation.client]
      if (user === undefined) continue
      world.clock.at(begun + operation.atMs, () => user.process.run(() => perform(history, user.client, operation)))
    }
    await world.clock.advanceTo(begun + scenario.healAtMs)
    world.heal()
    await peace(world)
    const { sent, runs } = history
    // One node that leaves, while another is there to take over, disturbs nobody who asks.
    const { faults: happened } = history
    const left = happened.length === 1 && scenario.nodes > 1 && /^node.*:leave$/.test(happened[0] ?? '')
    const calm = (happened.length === 0 || left) && !scenario.isUpgrade
    const evidence = evidenceOf(remainsIn(world.server))
    const { rollback, adoptions, automaton } = world
    const lostBefore = rollback === null ? -Infinity : rollback.at
    const partial = rollback !== null && world.server.reach === 'own shard'
    for (const fault of check({ sent, runs, evidence, calm, adoptions, lostBefore, partial, automaton }))
      history.violation(fault)
  }
  reported(world)
  const { violations, faults, seen, hash, trace } = history
  return { seed: scenario.seed, violations, faults, seen, virtualMs: world.elapsedMs, hash, trace }
}

/** A loss is never silent: where nothing else disturbed the owners, each must have noticed its own. */
function reported({ rollback, scenario, history }: World): void {
  if (rollback === null || history.faults.length > 1) return
  for (const [shard, lost] of rollback.lost) {
    // Commits whose answers were still on their way had not been acknowledged.
    if (lost <= scenario.limits.commitsInFlightMax || rollback.reported.has(shard)) continue
    history.violation(`shard ${shard} lost ${lost} commits, and nobody said so`)
  }
}

interface User {
  readonly client: Client
  readonly process: SimProcess
}

/** Brings up the cluster and its actors, without faults. Null when that alone fails. */
async function prepare(world: World): Promise<readonly User[] | null> {
  const { scenario, clock, history } = world
  for (let i = 0; i < scenario.nodes; i++) world.startNode(`node${i}`)
  const stations = scenario.actors.filter((actor) => actor.startsWith('station/'))
  for (const [i, actor] of stations.entries()) world.startStation(`station${i}`, actor)
  const opening = Promise.all(Array.from({ length: scenario.clients }, (_, i) => world.startClient(`client${i}`)))
  let alive = 0
  void opening.then(async ([user]) => {
    for (const actor of scenario.actors) if (user !== undefined) await bear(world, user, actor, () => alive++)
  })
  const deadline = clock.now() + SETUP_MS
  while (alive < scenario.actors.length && clock.now() < deadline) await clock.advanceTo(clock.now() + 50)
  if (alive < scenario.actors.length) {
    history.violation(`only ${alive} of ${scenario.actors.length} actors came to life, without any fault`)
    return null
  }
  return opening
}

async function bear(world: World, { client, process }: User, actor: ActorAddress, born: () => void): Promise<void> {
  while (actor.startsWith('station/') && !world.stationHosted(actor)) await process.sleep(20)
  for (;;) {
    try {
      await client.spawn(actor, { self: actor })
      born()
      return
    } catch (error) {
      world.history.note(`spawn of ${actor}: ${String(error)}`)
      await process.sleep(100)
    }
  }
}

/** Does it, and writes down what comes of it. */
export function perform(history: History, client: Client, operation: Operation): void {
  const { to, event, how } = operation
  const sent: Sent = { operation, order: history.sent.length, at: history.now(), outcome: { kind: 'pending' } }
  history.sent.push(sent)
  history.note(`${how} ${event.n} ${event.type} to ${to}`)
  const options = { control: event.lane === 'hi' }
  const done: Promise<{ handled: boolean; status: string }> =
    how === 'ask'
      ? client.ask(to, event, options)
      : client.tell(to, event, options).then(() => ({ handled: true, status: 'active' }))
  done.then(
    ({ handled, status }) => {
      sent.outcome = { kind: 'acknowledged', handled, status }
      history.note(`${how} ${event.n} is acknowledged`)
    },
    (error: unknown) => {
      sent.outcome = { kind: 'failed', code: error instanceof RuntimeError ? error.code : String(error) }
      history.count(`refused ${sent.outcome.code}`)
      history.note(`${how} ${event.n} failed: ${String(error)}`)
    },
  )
}

/** Liveness: with no more faults, everything comes to rest. */
async function peace({ scenario, clock, server, history, lost }: World): Promise<void> {
  const deadline = clock.now() + PEACE_MS
  // Who died last is missed only when its lease has run out.
  await clock.advanceTo(clock.now() + scenario.limits.leaseMs)
  const lostStations = [...lost].filter((role) => role.startsWith('station'))
  const pending = (): boolean => history.sent.some(({ outcome }) => outcome.kind === 'pending')
  while (clock.now() < deadline) {
    await clock.advanceTo(clock.now() + LOOK_MS)
    if (!pending() && restless(remainsIn(server), lostStations).length === 0) return
  }
  for (const what of restless(remainsIn(server), lostStations))
    history.violation(`not at rest after ${PEACE_MS} ms of peace: ${what}`)
}
