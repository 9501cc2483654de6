import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MUTATIONS } from './mutations.ts'
import type { MutationName } from './mutations.ts'
import { Pool } from './pool.ts'
import { scenarioOf } from './scenario.ts'
import { replayCommand, shrink } from './shrink.ts'

const SEEDS = 2_000

describe('the simulator', () => {
  let pool: Pool
  beforeAll(() => {
    pool = new Pool({ threads: 2 })
  })
  afterAll(() => pool.stop())

  test(`no promise is broken in ${SEEDS} seeds`, { timeout: 240_000 }, async () => {
    const { seeds, faults, virtualMs, failures } = await pool.runAll(1, SEEDS)
    const told = failures.map(({ seed, violations }) => [replayCommand(seed, {}, null), ...violations.slice(0, 3)])
    expect(told).toEqual([])
    expect(seeds).toBe(SEEDS)
    // A simulation in which nothing happens would find nothing either.
    expect(faults).toBeGreaterThan(SEEDS * 5)
    expect(virtualMs).toBeGreaterThan(SEEDS * 10_000)
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
