/**
 * What the gateway needs of the house, and nothing more. The command line puts the real things in; each is as narrow
 * as its use, so that what a route can do is seen here.
 */
import type { PresetSpec } from '../machines/preset-spec.ts'
import type { DatasetRef, JobSpec } from '../machines/spec.ts'
import type { ResumePoint } from '../machines/training.ts'
import type {
  FeatureView,
  DatasetDetailView,
  DatasetView,
  JobView,
  ModelAliasView,
  ModelVersionView,
  PoolView,
  Stage,
  WorkerView,
} from '../machines/views.ts'
import type { BatchSpec, BatchView } from '../machines/batch-spec.ts'
import type { SweepSpec, SweepView } from '../machines/sweep-spec.ts'
import type { ActorSnapshot, Client, Health } from '../runtime/client.ts'
import type { Blobs, Collection } from '../stores/mod.ts'
import type { Tokens } from './auth.ts'
import type { PageFiles } from './page.ts'
import type { FieldError } from './problems.ts'

export interface Services {
  readonly client: Client
  /** The read model of jobs. Searched by `owner`, `state`, ordered by `createdAt`: these must be indexed. */
  readonly jobs: Pick<Collection<JobView>, 'get' | 'find'>
  /** The registry. Searched by `name` and `version`, ordered by either `createdAt` or `version`. */
  readonly models: Pick<Collection<ModelVersionView>, 'find'>
  /** Where aliases point. Searched by `name` and `alias`. */
  readonly modelAliases: Pick<Collection<ModelAliasView>, 'find'>
  readonly registry: Curation
  readonly datasets: DatasetServices
  readonly blobs: Pick<Blobs, 'get' | 'head'>
  /** A job as its snapshot tells it: fresher than the read model, which a projector writes a moment later. */
  jobView(snapshot: ActorSnapshot): JobView
  /** From where a new job goes on as this one would; null where it has no such checkpoint. */
  resumePoint(snapshot: ActorSnapshot, round: number): ResumePoint | null
  readonly batches: Batches
  readonly sweeps: Sweeps
  workers(): Promise<readonly WorkerView[]>
  /** A pool by its name; null where there is none. */
  pool(name: string): Promise<PoolView | null>
  poolNames(): Promise<readonly string[]>
  /** The specification with the exact version of a model that it starts from, where it names one by an alias. */
  pin(spec: JobSpec): Promise<JobSpec>
  /** What speaks against this job, found before it starts: an unknown dataset, shapes that do not fit. */
  admit(spec: JobSpec, signal: AbortSignal): Promise<readonly FieldError[]>
  /** A preset as a whole specification, not yet checked; or what speaks against it. */
  expand(preset: PresetSpec, signal: AbortSignal): Promise<Expanded>
  /** The model as files that TensorFlow.js or Keras loads from one folder. */
  exportModel(model: ModelVersionView, format: 'tfjs' | 'keras'): Promise<readonly ExportedFile[]>
  /** Examples of a request as rows, or what is wrong with them. */
  examples(
    inputs: readonly unknown[],
    columns: readonly FeatureView[],
  ): Rows & { readonly problems: readonly FieldError[] }
  predict(model: ModelVersionView, rows: Rows, signal: AbortSignal): Promise<Predictions>
  /** A new id, of characters that an actor's address allows. */
  newJobId(): string
  /** `none` lets everybody do everything, and is refused on anything but loopback. */
  readonly auth: Tokens | 'none'
  /** Removes blobs to which nothing refers; null where nobody can say what refers to them. */
  readonly sweepBlobs: ((options: BlobSweepOptions) => Promise<BlobSweepReport>) | null
  metrics(): Promise<{ readonly contentType: string; readonly body: string }>
  /** One check per part that the gateway cannot do without. */
  ready(): Promise<Readonly<Record<string, Check>>>
  readonly version: string
  /** Told of each finished request. `route` is a pattern, never an address: its values are few. */
  observeRequest?(route: string, method: string, status: number, seconds: number): void
  /** Told of what the gateway did not foresee, for the log. */
  trouble(where: string, error: unknown): void
}

export interface ExportedFile {
  readonly name: string
  readonly mediaType: string
  readonly bytes: Uint8Array<ArrayBuffer>
}

export interface DatasetServices {
  /** Searched by `name`, ordered by either `createdAt` or `version`. */
  readonly find: Collection<DatasetView>['find']
  /** Names that come with a package. */
  isBuiltIn(name: string): boolean
  resolve(ref: DatasetRef): Promise<DatasetView>
  detail(ref: DatasetRef): Promise<DatasetDetailView>
  rows(
    ref: DatasetRef,
    range: { readonly split: 'train' | 'validation' | 'test'; readonly offset: number; readonly limit: number },
  ): Promise<{ readonly rows: readonly object[]; readonly count: number }>
  /** A place for files, which are gone when it is disposed of. */
  receive(options: { readonly sizeMaxBytes: number; readonly signal: AbortSignal }): Promise<DatasetUpload>
  add(
    version: {
      readonly name: string
      readonly owner: string
      readonly files: DatasetUpload['files']
      readonly options: object
    },
    options: { readonly signal: AbortSignal; readonly onProgress?: (progress: IngestProgress) => void },
  ): Promise<{ readonly dataset: DatasetView; readonly isNew: boolean }>
  /** Throws `dataset.in-use`. */
  remove(name: string, version: number): Promise<void>
}

export interface DatasetUpload extends AsyncDisposable {
  readonly files: readonly { readonly path: string; readonly name: string }[]
  take(file: UploadedFile, bytes: AsyncIterable<Uint8Array>): Promise<void>
  takeFrom(url: string, file: UploadedFile): Promise<void>
}

export interface UploadedFile {
  readonly name: string
  readonly split?: 'train' | 'validation' | 'test'
}

export interface IngestProgress {
  readonly bytes: number
  readonly bytesTotal: number
  readonly rows: number
}

export interface BlobSweepOptions {
  readonly minAgeMs: number
  readonly isDryRun: boolean
  readonly signal: AbortSignal
}

export interface BlobSweepReport {
  readonly removed: number
  readonly removedBytes: number
  readonly kept: number
  readonly young: number
}

/** Jobs that do one thing with many rows. */
export interface Batches {
  /** The read model. Searched by `owner`, ordered by `createdAt`. */
  readonly stored: Pick<Collection<BatchView>, 'get' | 'find'>
  view(snapshot: ActorSnapshot): BatchView
  /**
   * The specification as the job keeps it: with the exact version of its model, where it names one by an alias, and with
   * values as files. The same specification gives the same, but for where its alias points.
   */
  pin(spec: BatchSpec): Promise<BatchSpec>
  /** What speaks against this job: its function, its model, its inputs, or how they fit together. */
  admit(spec: BatchSpec, owner: string, signal: AbortSignal): Promise<readonly FieldError[]>
}

/** One job in many variants. */
export interface Sweeps {
  /** The read model. Searched by `owner`, ordered by `createdAt`. */
  readonly stored: Pick<Collection<SweepView>, 'get' | 'find'>
  view(snapshot: ActorSnapshot): SweepView
  /** What speaks against this sweep or any of its trials; else the sweep as it is stored. */
  admit(
    spec: SweepSpec,
    signal: AbortSignal,
  ): Promise<{ readonly spec: SweepSpec } | { readonly problems: readonly FieldError[] }>
}

/** How registered versions are found, used, and changed. */
export interface Curation {
  /** The version that is meant: by its number, by an alias, or `latest`. Null where there is none. */
  find(name: string, which: string): Promise<ModelVersionView | null>
  setStage(
    model: ModelRef,
    to: { readonly stage: Stage; readonly by: string; readonly note?: string },
  ): Promise<ModelVersionView>
  setAlias(model: ModelRef, alias: string, by: string): Promise<ModelAliasView>
  removeAlias(name: string, alias: string, by: string): Promise<ModelAliasView>
}

export interface ModelRef {
  readonly name: string
  readonly version: number
}

export type Expanded =
  | { readonly spec: Readonly<Record<string, unknown>> }
  | { readonly problems: readonly FieldError[] }

export interface Check {
  readonly ok: boolean
  readonly detail?: string
}

/** A transport that is slow or full still serves; one that does not answer serves nobody. */
export function checkOf({ state, reason }: Health): Check {
  return { ok: state !== 'unreachable', ...(reason !== undefined && { detail: reason }) }
}

/** Examples before preprocessing: of each, the values of the model's feature columns, one column after another. */
export interface Rows {
  readonly values: Float32Array<ArrayBuffer>
}

/** What the model says of each row: the probabilities of the classes, or the values. */
export interface Predictions {
  readonly rows: number
  /** Of one row. */
  readonly shape: readonly number[]
  readonly values: Float32Array
  /** The likeliest class of each row, by its name where the model has names; of a model of classes. */
  readonly classes?: readonly (number | string)[]
}

/** How this gateway stands in the network. */
export interface Settings {
  /** Where it listens. On loopback every request must name loopback as its host. */
  readonly hostname: string
  /** Other origins whose pages may use the API from a browser: `https://ml.example.org`. */
  readonly allowedOrigins?: readonly string[]
  /** Aborted when the gateway stops: streams of events end then. */
  readonly stopping: AbortSignal
  /** The page's files, as `readPage` of an entry gives them. */
  readonly page: PageFiles
  readonly heartbeatMs?: number
  readonly eventStallMs?: number
  readonly requestMs?: number
}
