import { beforeAll, describe, expect, it } from 'vitest'
import { compileModel, decodeTensors, evaluateSlice, initialise, mergeEvaluations, predictRows, startBackend, summarize, trainRound, writeWeights } from '../../kernels/mod.ts' // prettier-ignore
import type { Backend, CompiledModel, OptimizerSettings, RoundResult, TrainSettings } from '../../kernels/mod.ts'
import { IMAGES, PIPELINE, layer, sequential, settings, smallCnn, stripedDataset } from './models.ts'

describe("a replica's round", () => {
  const dataset = stripedDataset()
  const weights = initialise(smallCnn, 3, IMAGES)
  let backend: Backend
  let compiled: CompiledModel
  beforeAll(async () => {
    backend = await startBackend('wasm')
    compiled = await compileModel(backend, smallCnn, IMAGES)
  })

  async function round(
    changes: Partial<TrainSettings> = {},
    from: Partial<RoundResult> = { weights },
  ): Promise<RoundResult> {
    return await trainRound(compiled, from.weights ?? weights, from.optimizerState, dataset, {
      ...settings,
      ...changes,
    })
  }

  it('gives the same bytes for the same inputs, whatever ran in between and in another build of the model', async () => {
    const first = await round()
    await round({ seed: 99, optimizer: { kind: 'sgd', learningRate: 0.5 } })
    const second = await round()
    const other = await compileModel(backend, smallCnn, IMAGES)
    const third = await trainRound(other, weights, undefined, dataset, settings)
    for (const again of [second, third]) {
      expect(again.weights).toEqual(first.weights)
      expect(again.optimizerState).toEqual(first.optimizerState)
      expect(again.metrics).toEqual(first.metrics)
    }
  })

  const optimizers: OptimizerSettings[] = [
    { kind: 'sgd', learningRate: 0.05 },
    { kind: 'momentum', learningRate: 0.02, momentum: 0.8, nesterov: true },
    { kind: 'adam', learningRate: 0.01, schedule: { kind: 'cosine', steps: 20, warmupSteps: 2 } },
    { kind: 'adamw', learningRate: 0.01, weightDecay: 0.02 },
  ]
  for (const optimizer of optimizers) {
    it(`of ten steps is the same as two of five with ${optimizer.kind}, across an epoch's end`, async () => {
      const whole = await round({ optimizer, localSteps: 20 })
      const half = await round({ optimizer, localSteps: 10 })
      const rest = await round({ optimizer, localSteps: 10, stepStart: 10 }, half)
      expect(rest.weights).toEqual(whole.weights)
      expect(rest.optimizerState).toEqual(whole.optimizerState)
    })
  }

  it('tells its way in few bits where that is asked, and goes on from what it has not said', async () => {
    const first = await round({ precision: 'int8' })
    const exact = await round()
    expect(first.weights.byteLength).toBeLessThan(exact.weights.byteLength)
    const next = { ...exact, optimizerState: first.optimizerState }
    const again = await round({ precision: 'int8', stepStart: 6 }, next)
    expect(again.weights).toEqual((await round({ precision: 'int8', stepStart: 6 }, next)).weights)
    // Without the error of the first round it would say something else.
    expect(again.weights).not.toEqual((await round({ precision: 'int8', stepStart: 6 }, exact)).weights)
  })

  it('depends on seed, replica and step, so that no two share rows or dropout masks', async () => {
    const base = await round({ batchSizes: [16, 16] })
    for (const changes of [
      { batchSizes: [16, 16], replica: 1 },
      { batchSizes: [16, 16], seed: 8 },
      { batchSizes: [16, 16], stepStart: 1 },
    ]) {
      expect((await round(changes)).weights).not.toEqual(base.weights)
    }
  })

  it('draws a new dropout mask at every step', async () => {
    const dropped = sequential(
      layer('Flatten'),
      layer('Dropout', { rate: 0.5 }),
      layer('Dense', { units: 3, activation: 'softmax' }),
    )
    const model = await compileModel(backend, dropped, IMAGES)
    const x = backend.tf.ones([1, 8, 8, 1])
    const mask = (seed: number): string => {
      model.seedDropout(seed)
      const masked = model.model.getLayer('dropout_1').apply(backend.tf.reshape(x, [1, 64]), { training: true })
      return String((masked as typeof x).dataSync())
    }
    expect(mask(1)).toBe(mask(1))
    expect(mask(1)).not.toBe(mask(2))
    expect(mask(1).match(/2/g)?.length).toBeGreaterThan(16)
  })

  it('carries the moving statistics of normalisation among the weights', async () => {
    const { tensors } = decodeTensors((await round()).weights)
    const mean = tensors.find(({ name }) => name.endsWith('/moving_mean'))
    expect(mean?.data.some((x) => x !== 0)).toBe(true)
  })

  it('learns, and evaluation in parts adds up to evaluation as a whole', async () => {
    const trained = await round({ localSteps: 60 })
    const of = { batchSize: 64, loss: settings.loss }
    const whole = summarize(
      await evaluateSlice(compiled, trained.weights, dataset, { ...of, slice: { index: 0, of: 1 } }),
    )
    const parts = []
    for (const index of [0, 1, 2])
      parts.push(await evaluateSlice(compiled, trained.weights, dataset, { ...of, slice: { index, of: 3 } }))
    const merged = summarize(mergeEvaluations(parts))
    expect(whole.accuracy).toBeGreaterThan(0.95)
    expect(merged).toMatchObject({ examples: 240, accuracy: whole.accuracy, confusion: whole.confusion })
    expect(merged.loss).toBeCloseTo(whole.loss, 5)
    const { features, targets } = dataset.read(Uint32Array.of(0, 1, 2, 3))
    const raw = { values: features.map((value) => Math.round(value * 255)) }
    writeWeights(compiled, trained.weights)
    const outputs = await predictRows(compiled, raw, PIPELINE)
    const best = [...targets.keys()]
      .map((row) => outputs.values.subarray(row * 3, row * 3 + 3))
      .map((p) => p.indexOf(Math.max(...p)))
    expect(best).toEqual([...targets])
  })

  it('reports every step and stops between two when it is aborted', async () => {
    const abort = new AbortController()
    const steps: number[] = []
    const running = trainRound(compiled, weights, undefined, dataset, { ...settings, localSteps: 1000 }, {
      signal: abort.signal,
      onStep: ({ step }) => {
        steps.push(step)
        if (step === 3) abort.abort()
      },
    }) // prettier-ignore
    await expect(running).rejects.toThrow(/aborted/)
    expect(steps).toEqual([1, 2, 3])
  })

  it('names the step at which the loss is no number any more', async () => {
    const exploding = round({ optimizer: { kind: 'sgd', learningRate: 1e38 }, stepStart: 40 })
    await expect(exploding).rejects.toMatchObject({
      code: 'loss.not-finite',
      data: { step: expect.any(Number), replica: 0 },
    })
  })

  it('refuses weights of another model and state of another optimiser, and says what does not fit', async () => {
    const other = sequential(layer('Flatten'), layer('Dense', { units: 3, activation: 'softmax' }))
    await expect(round({}, { weights: initialise(other, 1, IMAGES) })).rejects.toMatchObject({
      code: 'weights.mismatch',
    })
    const { optimizerState } = await round()
    const wrong = round({ optimizer: { kind: 'sgd', learningRate: 0.1 } }, { weights, optimizerState })
    await expect(wrong).rejects.toThrow(/state is of adam, the job uses sgd/)
  })
})
