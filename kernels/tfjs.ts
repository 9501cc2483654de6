/**
 * The one door to TensorFlow.js. Loading it takes time and memory that the node's process shall not pay, so nothing
 * else in this folder imports its values statically: `kernels/mod.ts` can be imported anywhere.
 */
import type * as tfjsCore from '@tensorflow/tfjs-core'
import type * as tfjsLayers from '@tensorflow/tfjs-layers'
import { mendAveragePool } from './average-pool.ts'
import { registerConvolutionGradient } from './linear.ts'
import { mendTile } from './tile.ts'

export type Tf = typeof tfjsCore
export type TfLayers = typeof tfjsLayers

export interface Tfjs {
  tf: Tf
  layers: TfLayers
}

let loaded: Promise<Tfjs> | undefined

export async function loadTfjs(): Promise<Tfjs> {
  loaded ??= (async () => {
    const [tf, layers] = await Promise.all([import('@tensorflow/tfjs-core'), import('@tensorflow/tfjs-layers')])
    // Without it tfjs advises, on stderr, to install tfjs-node.
    tf.env().set('PROD', true)
    mendAveragePool(tf)
    mendTile(tf)
    registerConvolutionGradient(tf)
    return { tf, layers }
  })()
  return await loaded
}
