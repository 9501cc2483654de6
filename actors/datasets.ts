/**
 * Datasets by name: a version is a manifest, a blob that lists shards, which are blobs too. Versions are made of files
 * (an upload, a package's own data) and never change; the same content under the same name is the same version. What
 * comes with a package is brought in at its first use.
 *
 * Invariants:
 * 1. A version's document is written last: there is a version with all its blobs, or there is none.
 * 2. A version's number is given out once, also when versions are removed.
 */
import { createHash } from 'node:crypto'
import { constants, createReadStream } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import type * as Kernels from '../kernels/mod.ts'
import type { DatasetManifest, Ingested, IngestFile, IngestOptions, IngestProgress, SourceFile, SplitManifest, SplitName } from '../kernels/mod.ts' // prettier-ignore
import type { BatchSpec } from '../machines/batch-spec.ts'
import type { DatasetRef } from '../machines/spec.ts'
import type { DatasetDetailView, DatasetView } from '../machines/views.ts'
import type { Clock } from '../runtime/mod.ts'
import type * as Stores from '../stores/mod.ts'
import type { Blobs } from '../stores/mod.ts'
import type { BuiltInDataset } from './built-in-datasets.ts'
import { each, versionedId } from './collections.ts'
import type { FleetCollections } from './collections.ts'
import { FleetError } from './errors.ts'
import type { Upload, UploadOptions, Uploads } from './uploads.ts'

/** A version with all that its manifest says. */
export interface ResolvedDataset extends DatasetView {
  readonly data: DatasetManifest
}

export interface DatasetServices {
  readonly blobs: Pick<Blobs, 'put' | 'bytes'>
  readonly collections: Pick<FleetCollections, 'batches' | 'datasets' | 'datasetNumbers' | 'jobs' | 'models'>
  readonly kernels: Pick<typeof Kernels, 'ingestFiles' | 'sampleRows'>
  readonly clock: Pick<Clock, 'now'>
  /** Changes a document by compare-and-set. */
  readonly modify: typeof Stores.modify
  readonly uploads: Uploads
  readonly builtIn: readonly BuiltInDataset[]
}

export interface NewVersion {
  readonly name: string
  readonly owner: string
  readonly files: readonly IngestFile[]
  readonly options: IngestOptions
}

export interface AddOptions {
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: IngestProgress) => void
}

/** Who owns what comes with a package. */
const SYSTEM = 'system'
const MANIFESTS_HELD = 32

export class Datasets {
  readonly #services: DatasetServices
  /** Manifests by their hash, the last ones that were read. */
  readonly #manifests = new Map<string, DatasetManifest>()
  /** Built-in datasets on their way in: who asks meanwhile waits for the same. */
  readonly #coming = new Map<string, Promise<unknown>>()

  constructor(services: DatasetServices) {
    this.#services = services
  }

  /** The names that a spec may use. */
  async names(): Promise<string[]> {
    const names = new Set(this.#services.builtIn.map(({ name }) => name))
    for await (const { value } of each(this.#services.collections.datasets)) names.add(value.name)
    return [...names].toSorted()
  }

  find(search?: Stores.Search<DatasetView>): Promise<Stores.Page<DatasetView>> {
    return this.#services.collections.datasets.find(search)
  }

  /** A place for the files of a new version; it goes when it is disposed of. */
  receive(options: UploadOptions): Promise<Upload> {
    return this.#services.uploads.open(options)
  }

  /** The names that come with a package; nobody adds versions to them. */
  isBuiltIn(name: string): boolean {
    return this.#services.builtIn.some((dataset) => dataset.name === name)
  }

  /**
   * The version that a reference means; a built-in dataset that was never used is brought in. Throws
   * `dataset.unknown`, `dataset.version-unknown`.
   */
  async resolve(ref: DatasetRef, options: AddOptions = {}): Promise<ResolvedDataset> {
    const stored = await this.#stored(ref)
    if (stored !== null) return { ...stored, data: await this.#manifest(stored.manifest) }
    const found = this.#services.builtIn.find(({ name }) => name === ref.name)
    if (found === undefined || (ref.version ?? 1) !== 1) throw await this.#unknown(ref)
    const coming = this.#coming.get(ref.name) ?? this.add({ ...found, owner: SYSTEM }, options)
    this.#coming.set(ref.name, coming)
    await coming.finally(() => this.#coming.delete(ref.name))
    return this.resolve(ref, options)
  }

  /** Makes a version of files. Gives an older one where that has the same content. */
  async add(version: NewVersion, options: AddOptions = {}): Promise<{ dataset: DatasetView; isNew: boolean }> {
    const { blobs, kernels } = this.#services
    const { name, owner, files } = version
    const signal = options.signal === undefined ? {} : { signal: options.signal }
    const sizes: number[] = []
    for (const file of files) sizes.push(await sizeOf(name, file)) // of several that cannot be read, the first is named
    const [sources, ingested] = await together(options.signal, [
      (both) => Promise.all(files.map((file, i) => sourceOf(name, file, sizes[i] ?? 0, both))),
      (both) => {
        const store = async ({ bytes }: Kernels.IngestedShard): Promise<Stores.BlobRef> =>
          blobs.put(bytes, { signal: both })
        return kernels.ingestFiles({ files, options: version.options }, { ...options, store, signal: both })
      },
    ])
    const content = contentOf(ingested)
    const same = await this.#sameContent(name, content)
    if (same !== null) return { dataset: same, isNew: false }
    const manifest: DatasetManifest = { ...ingested, splits: withTrain(ingested.splits), files: sources }
    const { sha256 } = await blobs.put(new TextEncoder().encode(JSON.stringify(manifest)), signal)
    return this.#publish({ name, owner, manifest: sha256, content, ...sizesOf(manifest), format: manifest.format })
  }

  /** A version with all that is known of it. */
  async detail(ref: DatasetRef): Promise<DatasetDetailView> {
    const { data, ...view } = await this.resolve(ref)
    const shown = ({ count, shards, statistics }: SplitManifest): DatasetDetailView['splits']['train'] => {
      return { count, shards: shards.length, statistics }
    }
    const { train, validation, test } = data.splits
    const { columns, target, split, skipped, files } = data
    const splits = { train: shown(train), ...(validation && { validation: shown(validation) }), ...(test && { test: shown(test) }) } // prettier-ignore
    return { ...view, columns, target, splits, split, skipped, files }
  }

  /** Some rows of a split, as they are stored. */
  async rows(
    ref: DatasetRef,
    { split, ...range }: { readonly split: SplitName; readonly offset: number; readonly limit: number },
  ): Promise<{ rows: Kernels.SampleRow[]; count: number }> {
    const { blobs, kernels } = this.#services
    const { data } = await this.resolve(ref)
    const { shards = [], count = 0 } = data.splits[split] ?? {}
    return { rows: await kernels.sampleRows(data.columns, shards, range, (sha256) => blobs.bytes(sha256)), count }
  }

  /** Removes a version that nothing rests on; its number is not given out again, its blobs are swept (blob-sweep.ts). Throws `dataset.in-use`. */
  async remove(name: string, version: number): Promise<void> {
    const user = await this.#userOf(name, version)
    if (user !== null) {
      throw new FleetError('dataset.in-use', `Cannot remove version ${version} of ${name}: ${user} rests on it`, {
        user,
      })
    }
    const stored = await this.#services.collections.datasets.get(versionedId(name, version))
    if (stored !== undefined) await this.#services.collections.datasets.delete(stored.id)
  }

  /** A job under way or a model that rests on a version. A job that names none of its versions means the newest. */
  async #userOf(name: string, version: number): Promise<string | null> {
    const { batches, jobs, models } = this.#services.collections
    for await (const { value } of each(models)) {
      if (value.dataset.name === name && value.dataset.version === version)
        return `model ${value.name}@${value.version}`
    }
    for await (const { value } of each(jobs)) {
      const { dataset } = value.spec
      if (value.endedAt !== undefined || dataset.name !== name) continue
      if ((dataset.version ?? version) === version) return `job ${value.id}`
    }
    for await (const { value } of each(batches)) {
      if (value.endedAt === undefined && readBy(value.spec).some((ref) => ref.name === name && (ref.version ?? version) === version)) return `job ${value.id}` // prettier-ignore
    }
    return null
  }

  async #publish(
    document: Omit<DatasetView, 'version' | 'createdAt'>,
  ): Promise<{ dataset: DatasetView; isNew: boolean }> {
    const { collections, clock, modify } = this.#services
    // The number is remembered under the content: whoever adds the same at the same time gets the same.
    const numbers = await modify(collections.datasetNumbers, document.name, (known) => {
      const { last, versions } = known ?? { last: 0, versions: {} }
      if (versions[document.content] !== undefined) return undefined
      return { last: last + 1, versions: { ...versions, [document.content]: last + 1 } }
    })
    const version = numbers?.value.versions[document.content]
    if (version === undefined) throw new TypeError(`${document.name} was given no version`)
    const dataset = { ...document, version, createdAt: clock.now() }
    const written = await collections.datasets.insert(versionedId(document.name, version), dataset)
    const stored = written ?? (await collections.datasets.get(versionedId(document.name, version)))
    return { dataset: stored?.value ?? dataset, isNew: written !== undefined }
  }

  async #sameContent(name: string, content: string): Promise<DatasetView | null> {
    const { items } = await this.#services.collections.datasets.find({ where: { name, content }, limit: 1 })
    return items[0]?.value ?? null
  }

  async #stored({ name, version }: DatasetRef): Promise<DatasetView | null> {
    const { items } = await this.#services.collections.datasets.find({
      where: { name, ...(version !== undefined && { version }) },
      order: { by: 'version', direction: 'descending' },
      limit: 1,
    })
    return items[0]?.value ?? null
  }

  async #manifest(sha256: string): Promise<DatasetManifest> {
    const known = this.#manifests.get(sha256)
    if (known !== undefined) return known
    const manifest = await readManifest(this.#services.blobs, sha256)
    this.#manifests.set(sha256, manifest)
    for (const oldest of this.#manifests.keys()) {
      if (this.#manifests.size <= MANIFESTS_HELD) break
      this.#manifests.delete(oldest)
    }
    return manifest
  }

  async #unknown({ name, version }: DatasetRef): Promise<FleetError> {
    const names = await this.names()
    if (!names.includes(name)) {
      return new FleetError('dataset.unknown', `There is no dataset "${name}"; there are ${names.join(', ')}`, {
        path: 'dataset.name',
        expected: `one of ${names.join(', ')}`,
        found: name,
      })
    }
    const { items } = await this.#services.collections.datasets.find({ where: { name }, order: { by: 'version' } })
    const versions = items.map(({ value }) => value.version)
    return new FleetError('dataset.version-unknown', `Dataset "${name}" has no version ${version}`, {
      path: 'dataset.version',
      expected: versions.length === 0 ? '1' : `one of ${versions.join(', ')}`,
      found: String(version),
    })
  }
}

/** The manifest that a blob holds. It was written by an ingest, and its bytes are verified by their hash. */
export async function readManifest(blobs: Pick<Blobs, 'bytes'>, sha256: string): Promise<DatasetManifest> {
  return JSON.parse(new TextDecoder().decode(await blobs.bytes(sha256))) as DatasetManifest // see above
}

/** What makes two versions the same: rows, columns and splits, whatever the files were called. */
function contentOf({ columns, target, splits }: Ingested): string {
  const shards = Object.entries(splits).map(([name, split]) => [name, split.shards.map(({ sha256 }) => sha256)])
  return createHash('sha256')
    .update(JSON.stringify([columns, target, shards]))
    .digest('hex')
}

function withTrain(splits: Ingested['splits']): DatasetManifest['splits'] {
  const { train } = splits
  if (train === undefined) throw new TypeError('an ingest gives a training split')
  return { ...splits, train }
}

function sizesOf({ splits }: DatasetManifest): Pick<DatasetView, 'rows' | 'sizeBytes'> {
  const all = Object.values(splits)
  return {
    rows: all.reduce((sum, { count }) => sum + count, 0),
    sizeBytes: all.flatMap(({ shards }) => shards).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  }
}

async function sizeOf(dataset: string, { path }: IngestFile): Promise<number> {
  try {
    await access(path, constants.R_OK)
    return (await stat(path)).size
  } catch (error) {
    throw unreadable(dataset, path, error)
  }
}

async function sourceOf(
  dataset: string,
  { path, name, split }: IngestFile,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<SourceFile> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024, signal }))
      hash.update(chunk as Buffer) // no encoding is set
  } catch (error) {
    signal.throwIfAborted()
    throw unreadable(dataset, path, error)
  }
  return { name, sizeBytes, sha256: hash.digest('hex'), ...(split !== undefined && { split }) }
}

function unreadable(dataset: string, path: string, error: unknown): FleetError {
  const reason = error instanceof Error ? error.message : String(error)
  return new FleetError('dataset.unreadable', `Cannot read ${path} of dataset ${dataset}: ${reason}`, { path }, error)
}

/** Does two things side by side. When one fails the other is ended too, and nothing goes on after that was told. */
async function together<First, Second>(
  signal: AbortSignal | undefined,
  [first, second]: readonly [(both: AbortSignal) => Promise<First>, (both: AbortSignal) => Promise<Second>],
): Promise<[First, Second]> {
  const failed = new AbortController()
  const both = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal])
  const fail = (error: unknown): never => {
    failed.abort(error)
    throw error
  }
  const work = [first(both).catch(fail), second(both).catch(fail)] as const
  await Promise.allSettled(work)
  both.throwIfAborted()
  return Promise.all(work)
}

function readBy(spec: BatchSpec): readonly DatasetRef[] {
  if (spec.kind !== 'kernel') return [spec.dataset]
  return spec.inputs.flatMap((input) => ('dataset' in input ? [{ ...input, name: input.dataset }] : []))
}
