/**
 * A model in the forms that others load: TensorFlow.js by itself (`tf.loadLayersModel`: a topology with the weights'
 * manifest, the weights as raw float32, and `predict.js`, which does here what `take-home.ts` says), and Keras of Python.
 * It is made from the registry's blobs without tfjs.
 */
import { readFileSync } from 'node:fs'
import type { FeatureSpec } from './data/column.ts'
import type { Pipeline } from './data/pipeline.ts'
import { KernelError } from './errors.ts'
import { buildable, requirePlan } from './plan.ts'
import { takeHomeTypes } from './take-home-types.ts'
import type { TakenHome } from './take-home.ts'
import type { ModelTopology } from './topology.ts'
import { weightsOf } from './weights.ts'

export interface LayersModelFiles {
  /** `model.json`. It names `weights.bin` beside it. */
  model: Record<string, unknown>
  /** `weights.bin`: the weights one after the other, little-endian float32. */
  weights: Uint8Array<ArrayBuffer>
}

export const LAYERS_MODEL_WEIGHTS = 'weights.bin'

/** Throws `model.invalid`, `weights.malformed`, `weights.mismatch`. */
export function exportLayersModel(topology: ModelTopology, pipeline: Pipeline, weights: Uint8Array): LayersModelFiles {
  const { features, steps, input, output } = pipeline
  const plan = requirePlan(topology, input)
  const parts = weightsOf(plan, weights).map(
    ({ data: { buffer, byteOffset, byteLength } }) => new Uint8Array(buffer, byteOffset, byteLength),
  )
  return {
    model: {
      format: 'layers-model',
      generatedBy: 'TensorFleet',
      convertedBy: null,
      modelTopology: buildable(plan),
      weightsManifest: [
        {
          paths: [LAYERS_MODEL_WEIGHTS],
          weights: plan.weights.map(({ name, shape }) => ({ name, shape, dtype: 'float32' })),
        },
      ],
      userDefinedMetadata: {
        tensorfleet: { features, steps: steps.filter(isOfPredictions), input, output } satisfies TakenHome,
      },
    },
    weights: Buffer.concat(parts),
  }
}

/**
 * The topology as Keras of Python reads it (`keras.models.model_from_json`), with our names on its layers, so that a
 * weight of the safetensors file is `<layer>/<weight>`. Keras 3 wants to be told its module, and an input layer where
 * older ones (and tfjs) had a shape on the first layer.
 */
export function exportKerasModel(topology: ModelTopology, input: FeatureSpec): Record<string, unknown> {
  const plan = requirePlan(topology, input)
  const { class_name: className, config } = buildable(plan) as { class_name: string; config: KerasConfig } // as it writes
  for (const layer of plan.layers) refuseHardSigmoid(layer.className, layer.name, layer.config)
  const layers = config.layers.map((layer) => {
    const { batch_input_shape: batchShape, ...others } = layer.config
    // The form of a GRU that tfjs has; Keras has another one unless it is told.
    if (layer.class_name === 'GRU') return { ...layer, config: { ...others, reset_after: false } }
    if (layer.class_name !== 'InputLayer') return { ...layer, config: others }
    return { ...layer, config: { ...others, batch_shape: batchShape } }
  })
  const first = { class_name: 'InputLayer', config: { name: 'input', batch_shape: [null, ...plan.inputShape], dtype: 'float32' } } // prettier-ignore
  const all = className === 'Sequential' && layers[0]?.class_name !== 'InputLayer' ? [first, ...layers] : layers
  return { module: 'keras', class_name: className, config: { ...config, layers: all }, registered_name: null }
}

export const EXPORT_FORMATS = ['tfjs', 'keras'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

export interface ExportedFile {
  readonly name: string
  readonly mediaType: string
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** The model as files that belong into one folder. Throws as the functions above do. */
export function exportFiles(
  format: ExportFormat,
  topology: ModelTopology,
  pipeline: Pipeline,
  weights: Uint8Array<ArrayBuffer>,
): ExportedFile[] {
  if (format === 'tfjs') {
    const files = exportLayersModel(topology, pipeline, weights)
    const predict = text('predict.js', 'text/javascript', readFileSync(TAKE_HOME, 'utf8'))
    const types = text('predict.d.ts', 'application/typescript', takeHomeTypes(pipeline))
    return [json('model.json', files.model), binary(LAYERS_MODEL_WEIGHTS, files.weights), predict, types]
  }
  const loader = text('load.py', 'text/x-python', KERAS_LOADER)
  return [json('model.json', exportKerasModel(topology, pipeline.input)), binary('model.safetensors', weights), loader]
}

const TAKE_HOME = new URL('./take-home.generated.js', import.meta.url)

/** What changes pictures at random is of training alone. */
function isOfPredictions({ op }: Pipeline['steps'][number]): boolean {
  return op !== 'augment'
}

function text(name: string, mediaType: string, content: string): ExportedFile {
  return { name, mediaType, bytes: new TextEncoder().encode(content) }
}

function json(name: string, value: object): ExportedFile {
  return text(name, 'application/json', JSON.stringify(value))
}

function binary(name: string, bytes: Uint8Array<ArrayBuffer>): ExportedFile {
  return { name, mediaType: 'application/octet-stream', bytes }
}

/** Keras and the library safetensors know the two files, but not each other. */
const KERAS_LOADER = `"""The model of this folder, for Keras: from load import load; model = load(). Needs keras and safetensors."""

from pathlib import Path

import keras
from safetensors.numpy import load_file


def load(folder=Path(__file__).parent):
    model = keras.models.model_from_json((folder / "model.json").read_text())
    weights = load_file(folder / "model.safetensors")
    for layer in model.layers:
        for weight in layer.weights:
            weight.assign(weights.pop(f"{layer.name}/{weight.name}"))
    assert not weights, f"weights that no layer has: {list(weights)}"
    return model
`

/** Keras 3 calls another function by this name: a model with it would say something else there, in silence. */
function refuseHardSigmoid(className: string, name: string, config: Readonly<Record<string, unknown>>): void {
  const isGated = className === 'LSTM' || className === 'GRU'
  const recurrent = isGated ? (config['recurrent_activation'] ?? 'hard_sigmoid') : undefined
  if (recurrent !== 'hard_sigmoid' && config['activation'] !== 'hard_sigmoid') return
  const what = recurrent === 'hard_sigmoid' ? 'recurrent_activation' : 'activation'
  throw new KernelError(
    'model.invalid',
    `Cannot write ${name} for Keras: its ${what} is hard_sigmoid, which Keras 3 computes in another way; train with sigmoid`,
    { layer: name },
  )
}

interface KerasConfig {
  layers: { class_name: string; config: Record<string, unknown> }[]
}
