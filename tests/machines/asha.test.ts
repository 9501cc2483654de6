import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectedShare, lastStanding, promotable, rungsOf } from '../../machines/asha.ts'
import type { Climber } from '../../machines/asha.ts'

const at = (...results: readonly (number | null)[]): Climber => ({ results, isWaiting: true })
const onItsWay = (...results: readonly (number | null)[]): Climber => ({ results, isWaiting: false })

test.each([
  [{ minRounds: 1, maxRounds: 9, eta: 3 }, [1, 3]],
  [{ minRounds: 1, maxRounds: 10, eta: 3 }, [1, 3]],
  [{ minRounds: 2, maxRounds: 32, eta: 4 }, [2, 8]],
  [{ minRounds: 1, maxRounds: 8, eta: 2 }, [1, 2, 4]],
  [{ minRounds: 5, maxRounds: 10, eta: 2 }, [5]],
])('with %j trials wait after rounds %j', (spec, rungs) => {
  expect(rungsOf(spec)).toEqual(rungs)
})

test('of 32 trials over nine rounds a quarter of the steps is left, and of one all', () => {
  const spec = { minRounds: 1, maxRounds: 9, eta: 3 }
  expect(expectedShare(spec, 32)).toBeCloseTo((32 * 1 + 10 * 2 + 3 * 6) / (32 * 9))
  expect(expectedShare(spec, 1)).toBe(1)
})

describe('who goes on', () => {
  test('nobody, before there are as many as eta', () => {
    expect(promotable([at(0.9), at(0.8)], 3, false)).toBeNull()
  })

  test('the best one in eta: of accuracy the highest, of a cost the lowest', () => {
    const climbers = [at(0.5), at(0.9), at(0.7)]
    expect(promotable(climbers, 3, false)).toBe(1)
    expect(promotable(climbers, 3, true)).toBe(0)
  })

  test('nobody twice: who goes on already keeps its place among the best', () => {
    expect(promotable([at(0.5), onItsWay(0.9), at(0.7)], 3, false)).toBeNull()
    expect(promotable([at(0.5), onItsWay(0.9), at(0.7), at(0.1), at(0.1), at(0.1)], 3, false)).toBe(2)
  })

  test('of equal ones the lower number; one that was not measured, or is no number, is never among the best', () => {
    expect(promotable([at(null), at(0.5), at(0.5)], 3, false)).toBe(1)
    expect(promotable([at(NaN), at(null), at(-5)], 3, false)).toBe(2)
  })

  test('from the lowest rung that has one', () => {
    const lower = [at(0.6), onItsWay(0.9), at(0.1), at(0.1), at(0.1), at(0.1)]
    const higher = [at(0.3, 0.5), at(0.3, 0.6), at(0.3, 0.4)]
    expect(promotable([...lower, ...higher], 3, false)).toBe(0)
    expect(promotable(higher, 3, false)).toBe(1)
  })

  test('when there are too few for the rule, the best of those that are highest', () => {
    expect(lastStanding([at(0.9), at(0.5, 0.1), at(0.5, 0.2)], false)).toBe(2)
    expect(lastStanding([onItsWay(0.9)], false)).toBeNull()
    expect(lastStanding([], false)).toBeNull()
  })
})

interface Play {
  readonly promoted: readonly (readonly number[])[]
  readonly climbers: readonly Climber[]
  readonly steps: number
}

/** A sweep of simulated trials: which of those under way is done next is up to `pick`. */
function play(options: {
  values: readonly (readonly number[])[]
  eta: number
  rungs: readonly number[]
  end: number
  parallelism: number
  pick: (running: number) => number
  onPromotion?: (trial: number, rung: number, climbers: readonly Climber[]) => void
}): Play {
  const { values, eta, rungs, end, parallelism, pick, onPromotion } = options
  const climbers: Climber[] = []
  const promoted: number[][] = rungs.map(() => [])
  const running: number[] = []
  let steps = 0
  const fill = (): void => {
    while (running.length < parallelism) {
      const next = climbers.length < values.length ? climbers.push(onItsWay()) - 1 : promotable(climbers, eta, false)
      if (next === null) return
      const { results } = climbers[next] as Climber // it is there
      if (results.length > 0) {
        onPromotion?.(next, results.length - 1, climbers)
        promoted[results.length - 1]?.push(next)
      }
      climbers[next] = onItsWay(...results)
      steps += (rungs[results.length] ?? end) - (rungs[results.length - 1] ?? 0)
      running.push(next)
    }
  }
  fill()
  while (running.length > 0) {
    const [trial = 0] = running.splice(pick(running.length), 1)
    const { results } = climbers[trial] as Climber // it is there
    if (results.length < rungs.length) climbers[trial] = at(...results, values[trial]?.[results.length] ?? 0)
    fill()
  }
  return { promoted, climbers, steps }
}

describe('any sweep, in whatever order its trials are done', () => {
  const games = fc.record({
    values: fc.array(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 3, maxLength: 3 }), { minLength: 1, maxLength: 40 }), // prettier-ignore
    eta: fc.integer({ min: 2, max: 4 }),
    parallelism: fc.integer({ min: 1, max: 6 }),
    order: fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })),
  })
  const played = (
    game: { values: readonly (readonly number[])[]; eta: number; parallelism: number; order: Iterator<number> },
    onPromotion?: Parameters<typeof play>[0]['onPromotion'],
  ): Play =>
    // prettier-ignore
    play({
      ...game,
      rungs: [1, game.eta, game.eta ** 2],
      end: game.eta ** 3,
      pick: (running) => Math.floor(Number(game.order.next().value) * running),
      ...(onPromotion !== undefined && { onPromotion }),
    })

  test('who goes on is among the best one in eta of its rung, and none of those that wait there is better', () => {
    fc.assert(
      fc.property(games, (game) => {
        played(game, (trial, rung, climbers) => {
          const there = climbers.filter(({ results }) => results.length > rung)
          const own = climbers[trial]?.results[rung] ?? 0
          const better = there.filter(({ results }) => (results[rung] ?? 0) > own)
          expect(better.length).toBeLessThan(Math.floor(there.length / game.eta))
          expect(better.every(({ isWaiting, results }) => !isWaiting || results.length > rung + 1)).toBe(true)
        })
      }),
    )
  })

  test('a rung gives at most one in eta of its trials, and one for each that was under way', () => {
    fc.assert(
      fc.property(games, (game) => {
        const { promoted, climbers } = played(game)
        for (const [rung, trials] of promoted.entries()) {
          const there = climbers.filter(({ results }) => results.length > rung).length
          expect(trials.length).toBeLessThanOrEqual(Math.floor(there / game.eta) + game.parallelism - 1)
          expect(new Set(trials).size).toBe(trials.length)
        }
      }),
    )
  })

  test('one after the other, exactly the best one in eta of each rung go on', () => {
    fc.assert(
      fc.property(games, (game) => {
        const { promoted, climbers } = played({ ...game, parallelism: 1 })
        for (const [rung, trials] of promoted.entries()) {
          const there = climbers.flatMap(({ results }, trial) => (results.length > rung ? [trial] : []))
          const best = there.toSorted((a, b) => (climbers[b]?.results[rung] ?? 0) - (climbers[a]?.results[rung] ?? 0) || a - b) // prettier-ignore
          expect(trials.toSorted((a, b) => a - b)).toEqual(best.slice(0, Math.floor(there.length / game.eta)).toSorted((a, b) => a - b)) // prettier-ignore
        }
      }),
    )
  })

  test('all is done when nobody runs: no trial waits that the rule would let go on', () => {
    fc.assert(
      fc.property(games, (game) => {
        const { climbers } = played(game)
        expect(climbers).toHaveLength(game.values.length)
        expect(promotable(climbers, game.eta, false)).toBeNull()
      }),
    )
  })
})

test('thirty-two trials in rungs of 1, 3 and 9 rounds take at most two fifths of the grid’s steps', () => {
  const trials = fc.array(fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 2, maxLength: 2 }), { minLength: 32, maxLength: 32 }) // prettier-ignore
  fc.assert(
    fc.property(trials, fc.infiniteStream(fc.nat(99)), fc.integer({ min: 1, max: 4 }), (values, order, parallelism) => {
      const pick = (running: number): number => Number(order.next().value) % running
      const { steps } = play({ values, eta: 3, rungs: [1, 3], end: 9, parallelism, pick })
      expect(steps / (32 * 9)).toBeLessThanOrEqual(0.4)
    }),
  )
})
