/** What `watch` says of a job on its way and at its end, to a person who has no terminal. */
import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import type { Api } from '../../cli/api.ts'
import { summary } from '../../cli/watch-command.ts'
import { watchJob } from '../../cli/watch.ts'
import type { Evaluation } from '../../machines/training.ts'
import type { JobView } from '../../machines/views.ts'

const measured: Evaluation = { loss: 0.3, r2: 0.9, rmse: 2, examples: 20, report: { sha256: 'a', sizeBytes: 1 } }

// As much of a job as is looked at here.
const job = {
  name: 'prices',
  state: 'training',
  spec: { train: { replicas: 1 } },
  progress: { round: 2, rounds: 4, step: 20, steps: 40 },
  metrics: { loss: 0.5 },
  checkpoints: [{ round: 1, isBest: true }],
  validation: measured,
  createdAt: 0,
  changedAt: 4_000,
  workers: {},
} as unknown as JobView

test('a round is told with what fits its target, and with how the checkpoint does on the validation split', async () => {
  const states = [job, { ...job, progress: { ...job.progress, round: 3 }, validation: { ...measured, r2: 0.95 } }]
  const api = {
    job: async () => job,
    async *events() {
      for (const state of states) yield { event: 'state', data: JSON.stringify(state) }
    },
  } as unknown as Api
  const out = new PassThrough()
  const { signal } = new AbortController()
  await watchJob(api, 'x', { signal, out: out as unknown as NodeJS.WriteStream })
  expect(String(out.read()).split('\n').slice(0, 2)).toEqual([
    'prices: round 2/4, loss 0.5000, validation R² 0.9000',
    'prices: round 3/4, loss 0.5000, validation R² 0.9500',
  ])
})

test('the end says what both splits measured', () => {
  const text = summary({ ...job, state: 'completed', evaluation: { ...measured, r2: 0.8 } })
  expect(text).toContain('  loss 0.3000   R² 0.8000   RMSE 2.0000\n  on 20 for validation: loss 0.3000   R² 0.9000')
})

test('the end says that it came early, and which checkpoint is the model', () => {
  expect(summary({ ...job, state: 'completed' })).toContain(
    'stopped early in round 2 of 4: the best one was 1, and is the model',
  )
  expect(summary({ ...job, state: 'completed', progress: { ...job.progress, round: 4 } })).not.toContain('early')
})
