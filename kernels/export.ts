/**
 * A model in the form that TensorFlow.js loads by itself (`tf.loadLayersModel`): a topology with the weights' manifest,
 * and the weights as raw float32. It is made from the registry's blobs without tfjs.
 */
import type { FeatureSpec } from './data/column.ts'
import { KernelError } from './errors.ts'
import { buildable, requirePlan } from './plan.ts'
import { decodeTensors } from './safetensors.ts'
import type { ModelTopology } from './topology.ts'

export interface LayersModelFiles {
  /** `model.json`. It names `weights.bin` beside it. */
  model: Record<string, unknown>
  /** `weights.bin`: the weights one after the other, little-endian float32. */
  weights: Uint8Array<ArrayBuffer>
}

export const LAYERS_MODEL_WEIGHTS = 'weights.bin'

/** Throws `model.invalid`, `weights.malformed`, `weights.mismatch`. */
export function exportLayersModel(topology: ModelTopology, input: FeatureSpec, weights: Uint8Array): LayersModelFiles {
  const plan = requirePlan(topology, input)
  const given = new Map(decodeTensors(weights).tensors.map((tensor) => [tensor.name, tensor]))
  const parts: Uint8Array[] = []
  for (const { name, shape } of plan.weights) {
    const tensor = given.get(name)
    if (tensor?.dtype !== 'F32' || tensor.shape.join() !== shape.join()) {
      const found = tensor === undefined ? 'nothing' : `${tensor.dtype} [${tensor.shape.join(', ')}]`
      throw new KernelError(
        'weights.mismatch',
        `weights: expected ${name} as F32 [${shape.join(', ')}], found ${found}`,
      )
    }
    const { buffer, byteOffset, byteLength } = tensor.data
    parts.push(new Uint8Array(buffer, byteOffset, byteLength))
  }
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
    },
    weights: Buffer.concat(parts),
  }
}
