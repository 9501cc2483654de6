/**
 * The allow-list: every layer type that a model may use. A type that is not here is refused before anything is built.
 * A new type needs a rule in one of the files beside this one and passes the same numerical suite as the others
 * (`tests/kernels/gradients.test.ts` walks this list).
 */
import type { LayerRule } from '../layer.ts'
import { coreLayers } from './core.ts'
import { sequenceLayers } from './sequence.ts'
import { spatialLayers } from './spatial.ts'

export const LAYERS: ReadonlyMap<string, LayerRule> = new Map(
  Object.entries({ ...coreLayers, ...spatialLayers, ...sequenceLayers }),
)
