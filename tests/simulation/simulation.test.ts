import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { COMMAND_FAULTS } from './faults.ts'
import { MUTATIONS } from './mutations.ts'
import type { MutationName } from './mutations.ts'
import { Pool } from './pool.ts'
import { scenarioOf } from './scenario.ts'
import { replayCommand, shrink } from './shrink.ts'

const SEEDS = 2_000
/** Every await of an owner, a node and a client on the transport; each must meet every fault. */
const COMMANDS =
  'announce claim renew release pinned position publish deliver read park load commit active due outbox ends'.split(' ')
/** What else must have happened, or the promises about it were not tried. */
const HAPPENINGS = [
  'fault crash',
  'fault pause',
  'fault partition',
  'fault leave',
  'fault rollback',
  'adoption',
  'lease.lost',
  'lease.suspended',
  'lease.resumed',
  'shard.rolled-back',
  'passivation',
  'timer.fired',
  'dead-letter',
  'message.held',
  'effect done',
  'effect failed',
  'effect retried',
  'effect aborted',
  'refused mailbox.full',
  'refused ask.timeout',
  'refused transition.failed',
  'refused actor.version-unknown',
]

describe('the simulator', () => {
  let pool: Pool
  beforeAll(() => {
    pool = new Pool({ threads: 2 })
  })
  afterAll(() => pool.stop())

  test(`no promise is broken in ${SEEDS} seeds`, { timeout: 240_000 }, async () => {
    const { seeds, faults, seen, virtualMs, failures } = await pool.runAll(1, SEEDS)
    const told = failures.map(({ seed, violations }) => [replayCommand(seed, {}, null), ...violations.slice(0, 3)])
    expect(told).toEqual([])
    expect(seeds).toBe(SEEDS)
    // A simulation in which nothing happens would find nothing either.
    expect(faults).toBeGreaterThan(SEEDS * 5)
    expect(virtualMs).toBeGreaterThan(SEEDS * 10_000)
    const hits = COMMANDS.flatMap((command) => COMMAND_FAULTS.map((kind) => `fault ${command} ${kind}`))
    expect([...hits, ...HAPPENINGS].filter((what) => (seen[what] ?? 0) === 0)).toEqual([])
  })

  test('a seed runs the same way each time', async () => {
    for (const seed of [3, 19, 138, 455]) {
      const [first, again] = await Promise.all([pool.run(seed), pool.run(seed)])
      expect(again).toEqual(first)
    }
  })

  test('a run whose faults are given by name is the run in which they were drawn', async () => {
    const drawn = await pool.run(455)
    expect(drawn.faults.length).toBeGreaterThan(0)
    expect((await pool.run(455, { only: drawn.faults })).hash).toBe(drawn.hash)
    expect((await pool.run(455, { only: [] })).faults).toEqual([])
  })
})

describe('a runtime without one of its mechanisms', () => {
  test.each(Object.keys(MUTATIONS) as MutationName[])('is found out: %s', { timeout: 240_000 }, async (mutation) => {
    await using pool = new Pool({ mutation, threads: 2 })
    const { failures } = await pool.runAll(1, SEEDS, ({ violations }) => violations > 0)
    expect(failures.length).toBeGreaterThan(0)
  })

  test('is found out by a scenario that becomes small', async () => {
    await using pool = new Pool({ mutation: 'timer-generation', threads: 1 })
    const { failures } = await pool.runAll(1, SEEDS, ({ violations }) => violations > 0)
    const failure = failures[0]!
    const { operations, nodes } = scenarioOf(failure.seed)
    const { reduction, result } = await shrink(failure, operations.length, nodes, (less) =>
      pool.run(failure.seed, less),
    )
    // It fires where it should not, or waits for ever.
    expect(result.violations[0]).toMatch(/^C5|^not at rest .* timer /)
    expect(reduction.operations?.length).toBeLessThanOrEqual(4)
    expect(replayCommand(failure.seed, reduction, null)).toContain(`npm run sim -- --seed ${failure.seed} `)
  })
})
