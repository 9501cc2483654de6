/**
 * What crosses the boundary between a worker and its kernel process: requests, results, progress. Bulk data stays in
 * files: inputs are blobs in the worker's cache, named by their sha256, which the kernel verifies; outputs are files in
 * the kernel's scratch folder, which the worker takes over.
 */
import type { BackendName, Device } from './backend.ts'
import type { FeatureSpec } from './data/column.ts'
import type { DatasetSlice } from './data/manifest.ts'
import type { Pipeline } from './data/pipeline.ts'
import type { KernelErrorData } from './errors.ts'
import type { EvaluateSettings } from './evaluate.ts'
import type { GpuMode } from './gpujs/map.ts'
import type { MapRequest } from './gpujs/request.ts'
import type { Evaluation } from './metrics.ts'
import type { Predictions, RawRows } from './predict.ts'
import type { PredictFormat } from './prediction-text.ts'
import type { Progress, RoundMetrics } from './round.ts'
import type { TrainSettings } from './step.ts'
import type { SyncMessage } from './sync.ts'
import type { ModelTopology } from './topology.ts'

/** A blob that the kernel may read: where it lies and what its bytes must hash to. */
export interface BlobFile {
  path: string
  sha256: string
}

/** A file that the kernel wrote into its scratch folder. The receiver moves or deletes it. */
export interface OutputFile extends BlobFile {
  sizeBytes: number
}

interface ModelInput {
  model: ModelTopology
  /** What one row of the model's input is. */
  input: FeatureSpec
}

export type KernelRequest =
  /** From a seed, or from weights that are there. */
  | (ModelInput & { op: 'initialise'; seed: number; from?: BlobFile })
  | {
      op: 'round'
      model: ModelTopology
      weights: BlobFile
      optimizerState?: BlobFile
      data: DatasetSlice
      settings: TrainSettings
    }
  /** A window of steps that replicas take together; what this member tells the others travels beside the request. */
  | {
      op: 'sync'
      member: string
      model: ModelTopology
      weights: BlobFile
      optimizerState?: BlobFile
      data: DatasetSlice
      settings: TrainSettings
    }
  | ({ op: 'evaluate'; model: ModelTopology; weights: BlobFile; data: DatasetSlice } & EvaluateSettings)
  | MapRequest
  | { op: 'predict'; model: ModelTopology; weights: BlobFile; rows: RawRows; pipeline: Pipeline }
  | {
      op: 'predictSplit'
      model: ModelTopology
      weights: BlobFile
      data: DatasetSlice
      start: number
      rows: number
      format: PredictFormat
    }

export interface InitialiseResult {
  weights: OutputFile
}

export interface RoundFiles {
  weights: OutputFile
  optimizerState: OutputFile
  metrics: RoundMetrics
  kernelMs: number
  wallMs: number
}

/** The chunk's elements, float32, row-major. */
export interface MapResult {
  chunk: OutputFile
  mode: GpuMode
}

/** Elements as float32, row-major, or lines of text. */
export interface PredictSplitResult {
  chunk: OutputFile
}

interface Results {
  initialise: InitialiseResult
  round: RoundFiles
  sync: RoundFiles
  evaluate: Evaluation
  predict: Predictions
  predictSplit: PredictSplitResult
  map: MapResult
}

export type KernelResult<R extends KernelRequest> = Results[R['op']]

/** Parent to child. */
export type ToKernel =
  | { type: 'run'; id: number; request: KernelRequest }
  | { type: 'cancel'; id: number }
  | { type: 'hear'; id: number; message: SyncMessage }
  | { type: 'stop' }

/**
 * Child to parent. `alive` is a sign of life during work that reports nothing else. `rssBytes` is the memory that the
 * child has, so that one that leaks is noticed.
 */
export type FromKernel =
  | { type: 'ready'; backend: BackendName; fingerprint: string; engine?: string; device?: Device }
  | { type: 'progress'; id: number; progress: Progress; rssBytes: number }
  | { type: 'alive'; id: number; rssBytes: number }
  | { type: 'tell'; id: number; message: SyncMessage }
  | { type: 'result'; id: number; result: Results[keyof Results]; rssBytes: number }
  | { type: 'error'; id: number | undefined; error: KernelErrorData }
