/**
 * Runs where a kernel runs, on the back end that it is told, and answers with the outputs and gradients of one batch,
 * and with the weights after one training step.
 */
import type { Backend } from '../../../kernels/backend.ts'
import type { ChildSettings } from '../../../kernels/launch.ts'
import { closeDoors } from '../../../kernels/sandbox.ts'
import type { Answer, Question } from '../numerics.ts'

const { backend: name, native, backendsDir } = JSON.parse(process.argv[2] ?? '') as ChildSettings // our parent's
if (!native) closeDoors()
const { loadBackend } = await import('../../../kernels/backend.ts')
const loaded = await loadBackend(name, { backendsDir })
closeDoors()
const { compileModel, writeWeights } = await import('../../../kernels/compiled.ts')
const { trainRound } = await import('../../../kernels/round.ts')
const { gradientsOf } = await import('../../../kernels/step.ts')
const { datasetInMemory } = await import('../../../kernels/data/dataset.ts')

const backend = await loaded()
process.on('disconnect', () => process.exit(0))
process.on('message', ({ id, request }: { id: number; request: Question }) => {
  answer(backend, request).then(
    (result) => process.send?.({ type: 'result', id, result, rssBytes: 0 }),
    (error: unknown) => {
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
      process.send?.({ type: 'error', id, error: { code: 'kernel.failed', message, remedy: 'give-up', data: {} } })
    },
  )
})
process.send?.({ type: 'ready', backend: backend.name, fingerprint: backend.fingerprint })

async function answer(
  on: Backend,
  { model, input, weights, target, batch, shard, columns, settings }: Question,
): Promise<Answer> {
  const compiled = await compileModel(on, model, input)
  try {
    writeWeights(compiled, weights)
    compiled.seedDropout(3)
    const before = on.tf.memory().numTensors
    const trainable = compiled.weights.filter((weight) => weight.trainable)
    const { loss, outputs, gradients } = await gradientsOf(compiled, trainable, batch, { target }, settings)
    const leaked = on.tf.memory().numTensors - before
    const statistics = compiled.weights.filter((weight) => !weight.trainable)
    const moved = await Promise.all(statistics.map(async (w) => [w.name, await w.variable.data()] as const))
    const dataset = datasetInMemory(columns, 'label', [], [shard])
    const stepped = await trainRound(compiled, weights, undefined, dataset, settings)
    return {
      loss,
      outputs,
      gradients,
      statistics: new Map(moved as [string, Float32Array][]),
      leaked,
      stepped: stepped.weights,
    }
  } finally {
    compiled.dispose()
  }
}
