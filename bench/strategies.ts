/**
 * What strategies cost and reach: the same network on MNIST, the same epochs and two replicas on two workers, trained
 * by `sync`, by `diloco` with 50 local steps, and by `diloco` with int8 deltas. Bytes are those that really went between
 * workers and the blob store, as the job's view counts them: what replicas exchange to become one model. What is stored
 * beside it so that another worker could go on (optimiser states, checkpoints) is told apart.
 */
import type { JobView } from '../machines/views.ts'
import type { Benchmark } from './bench.ts'
import { startFleet, trainToEnd } from './fleet.ts'

const EPOCHS = 4
/** DiLoCo as in its paper (2311.08105). */
const OUTER = { kind: 'nesterov', learningRate: 0.7, momentum: 0.9 }
const STRATEGIES = {
  sync: { kind: 'sync', roundSteps: 50 },
  diloco: { kind: 'diloco', localSteps: 50, outer: OUTER },
  int8: { kind: 'diloco', localSteps: 50, outer: OUTER, precision: 'int8' },
}

export const run: Benchmark = async (say) => {
  await using fleet = await startFleet(2)
  const jobs: Partial<Record<keyof typeof STRATEGIES, JobView>> = {}
  for (const [name, strategy] of Object.entries(STRATEGIES)) {
    say(`${name} …`)
    const job = await trainToEnd(fleet.api, specOf(name, strategy))
    jobs[name as keyof typeof STRATEGIES] = job // the keys of STRATEGIES
    say(`  accuracy ${accuracyOf(job)}, ${job.traffic?.exchangeBytes} bytes exchanged`)
  }
  const { sync, diloco, int8 } = jobs
  if (sync === undefined || diloco === undefined || int8 === undefined) throw new Error('a strategy was not trained')
  return {
    sync_accuracy: accuracyOf(sync),
    diloco_accuracy: accuracyOf(diloco),
    int8_accuracy: accuracyOf(int8),
    sync_bytes: exchanged(sync),
    diloco_bytes: exchanged(diloco),
    int8_bytes: exchanged(int8),
    diloco_to_sync_bytes: share(exchanged(diloco), exchanged(sync)),
    int8_to_diloco_bytes: share(exchanged(int8), exchanged(diloco)),
    sync_state_bytes: sync.traffic?.stateBytes ?? 0,
    diloco_state_bytes: diloco.traffic?.stateBytes ?? 0,
    int8_state_bytes: int8.traffic?.stateBytes ?? 0,
    sync_s: seconds(sync),
    diloco_s: seconds(diloco),
    int8_s: seconds(int8),
  }
}

function specOf(name: string, strategy: object): object {
  return {
    name,
    dataset: { name: 'mnist' },
    preprocess: [{ op: 'scale', factor: 1 / 255 }],
    model: {
      class_name: 'Sequential',
      config: {
        layers: [
          { class_name: 'Flatten', config: {} },
          { class_name: 'Dense', config: { units: 256, activation: 'relu' } },
          { class_name: 'Dropout', config: { rate: 0.2 } },
          { class_name: 'Dense', config: { units: 10, activation: 'softmax' } },
        ],
      },
    },
    train: {
      replicas: 2,
      epochs: EPOCHS,
      batchSize: 64,
      loss: 'sparseCategoricalCrossentropy',
      optimizer: { kind: 'adamw', learningRate: 0.001 },
      strategy,
    },
  }
}

/** In percent. */
function accuracyOf({ evaluation }: JobView): number {
  return Math.round((evaluation?.accuracy ?? 0) * 10_000) / 100
}

function exchanged({ traffic }: JobView): number {
  return traffic?.exchangeBytes ?? 0
}

function share(a: number, b: number): number {
  return Math.round((a / b) * 10_000) / 10_000
}

function seconds(job: JobView): number {
  return Math.round((job.changedAt - job.createdAt) / 100) / 10
}
