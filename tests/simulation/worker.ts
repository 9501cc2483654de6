/** A thread that runs simulations: one job at a time, each answered with its result. Mutated first, when it is told to. */
import process from 'node:process'
import { parentPort, workerData } from 'node:worker_threads'
import type { Job } from './pool.ts'
import { mutate } from './mutations.ts'
import type { MutationName } from './mutations.ts'

const { mutation } = workerData as { mutation: MutationName | null } // given by pool.ts
if (mutation !== null) mutate(mutation)
// Loaded only now: what the mutation changes must not have been loaded before.
const { simulate } = await import('./simulator.ts')
const { scenarioOf } = await import('./scenario.ts')

const stray: string[] = []
process.on('unhandledRejection', (error) => stray.push(`a promise was rejected that nobody held: ${String(error)}`))

parentPort?.on('message', ({ seed, reduction, traced }: Job) => {
  void (async () => {
    const result = await simulate(scenarioOf(seed, reduction), traced)
    const violations = [...result.violations, ...stray.splice(0)]
    // eslint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    parentPort?.postMessage({ ...result, violations })
  })()
})
