/** What goes home with a model says there what the model says here. */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { beforeAll, describe, expect, test } from 'vitest'
import { compileModel, exportFiles, initialise, startBackend, writeWeights } from '../../kernels/mod.ts'
import type { Backend, ModelTopology, Pipeline } from '../../kernels/mod.ts'
import { readExamples } from '../../kernels/data/examples.ts'
import { predictRows } from '../../kernels/predict.ts'
import { classesOf } from '../../kernels/prediction-text.ts'
import { takeHomeTypes } from '../../kernels/take-home-types.ts'
import type { predict as Predict } from '../../kernels/take-home.ts'
import { layer, seededValues, sequential } from './models.ts'

let backend: Backend
beforeAll(async () => {
  backend = await startBackend('cpu')
})

const TABLE: Pipeline = {
  features: [
    { name: 'size', dtype: 'float32', shape: [], nullable: true },
    { name: 'colour', dtype: 'int32', shape: [], categories: { count: 2, names: ['red', 'blue'] }, nullable: true },
  ],
  steps: [
    { op: 'impute', column: 0, isCategory: false, values: [2] },
    { op: 'affine', column: 0, factor: [0.5], offset: [-1] },
    { op: 'onehot', column: 1, classes: 2 },
  ],
  input: { shape: [3], dtype: 'float32' },
  target: null,
  output: { kind: 'class', classes: 3, names: ['cat', 'dog', 'owl'] },
  shuffle: 'auto',
}

const PICTURES: Pipeline = {
  features: [{ name: 'picture', dtype: 'uint8', shape: [4, 4, 1] }],
  steps: [
    { op: 'affine', column: 0, factor: [1 / 255], offset: [0] },
    { op: 'resize', column: 0, from: [4, 4, 1], to: [8, 8, 1] },
    { op: 'augment', column: 0, shape: [8, 8, 1], noise: 5 },
  ],
  input: { shape: [8, 8, 1], dtype: 'float32' },
  target: null,
  output: { kind: 'value', shape: [], unscale: { factor: 10, offset: 3 } },
  shuffle: 'auto',
}

/** As somebody loads it who has the exported folder and TensorFlow.js. */
async function atHome(topology: ModelTopology, pipeline: Pipeline, weights: Uint8Array) {
  const files = exportFiles('tfjs', topology, pipeline, new Uint8Array(weights))
  const [json, binary, script] = files.map(({ bytes }) => bytes)
  const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes)
  const { modelTopology, weightsManifest, userDefinedMetadata } = JSON.parse(text(json)) as {
    modelTopology: object
    weightsManifest: { weights: [] }[]
    userDefinedMetadata: Record<string, object>
  }
  const weightData = new Uint8Array(binary ?? []).buffer
  const weightSpecs = weightsManifest[0]?.weights ?? []
  const model = await backend.layers.loadLayersModel({
    load: async () => ({ modelTopology, weightSpecs, weightData, userDefinedMetadata }),
  })
  const url = `data:text/javascript,${encodeURIComponent(text(script))}`
  const { predict } = (await import(/* @vite-ignore */ url)) as { predict: typeof Predict } // the file as it is exported
  return { model, predict: (examples: unknown[]) => predict(backend.tf, model, examples) }
}

async function here(topology: ModelTopology, pipeline: Pipeline, weights: Uint8Array, examples: unknown[]) {
  const compiled = await compileModel(backend, topology, pipeline.input)
  writeWeights(compiled, weights)
  const said = await predictRows(compiled, readExamples(examples, pipeline.features), pipeline)
  const width = said.values.length / said.rows
  const outputs = Array.from({ length: said.rows }, (_, row) => [...said.values.subarray(row * width, (row + 1) * width)]) // prettier-ignore
  return { outputs, classes: classesOf(pipeline.output, said.values, said.rows) }
}

describe('predict at home', () => {
  const classifier = sequential(layer('Dense', { units: 3, activation: 'softmax' }))

  test('says what the model says here, of named columns with categories and missing values', async () => {
    const weights = initialise(classifier, 5, TABLE.input)
    const examples = [{ size: 3, colour: 'blue' }, { size: null, colour: 'red' }, [-7, null]]
    const { predict } = await atHome(classifier, TABLE, weights)
    const expected = await here(classifier, TABLE, weights, examples)
    expect(new Set(expected.classes).size).toBeGreaterThan(1)
    expect(await predict(examples)).toEqual(expected)
  })

  test('says what the model says here, of more pictures than a batch holds, in the units of the target', async () => {
    const regressor = sequential(layer('Conv2D', { filters: 2, kernel_size: 3 }), layer('Flatten'), layer('Dense', { units: 1 })) // prettier-ignore
    const weights = initialise(regressor, 5, PICTURES.input)
    const examples = Array.from({ length: 300 }, (_, i) => [...seededValues(16, i, 0, 255)])
    const { predict } = await atHome(regressor, PICTURES, weights)
    const { outputs } = await here(regressor, PICTURES, weights, examples)
    expect(await predict(examples)).toEqual({ outputs })
  })

  test('is typed: columns, categories and classes by their names', () => {
    const folder = mkdtempSync(join(tmpdir(), 'tf-home-'))
    try {
      writeFileSync(join(folder, 'predict.d.ts'), takeHomeTypes(TABLE))
      const use = join(folder, 'use.ts')
      writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
      symlinkSync(fileURLToPath(new URL('../../node_modules', import.meta.url)), join(folder, 'node_modules'))
      writeFileSync(
        use,
        `import { predict } from './predict.js'
        import * as tf from '@tensorflow/tfjs-core'
        import type { LayersModel } from '@tensorflow/tfjs-layers'
        declare const model: LayersModel
        const { classes } = await predict(tf, model, [{ size: 3, colour: 'blue' }, [null, 1]])
        const first: 'cat' | 'dog' | 'owl' | undefined = classes[0]
        // @ts-expect-error
        await predict(tf, model, [{ size: 3, color: 'blue' }])
        // @ts-expect-error
        await predict(tf, model, [{ size: 3, colour: 'green' }])
        // @ts-expect-error
        const other: 'cat' | undefined = classes[0]
        export { first, other }`,
      )
      const options = { strict: true, noEmit: true, skipLibCheck: true, module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2022 } // prettier-ignore
      const found = ts.getPreEmitDiagnostics(ts.createProgram([use], options))
      expect(found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '))).toEqual([])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('names what does not fit, and a model that was loaded without its preprocessing', async () => {
    const { model, predict } = await atHome(classifier, TABLE, initialise(classifier, 5, TABLE.input))
    await expect(predict([{ size: 1, colour: 'green' }])).rejects.toThrow(
      'inputs[0].colour: expected one of "red", "blue"',
    )
    model.setUserDefinedMetadata({})
    await expect(predict([[1, 'red']])).rejects.toThrow('says nothing of preprocessing')
  })
})
