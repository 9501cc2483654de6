/**
 * The fleet's documents: what there is beside running actors. Jobs are a projection of the journal and can be rebuilt;
 * models and datasets are facts that effects write once. Each definition names the fields that may be searched by.
 */
import type { DatasetView, JobView, ModelAliasView, ModelVersionView } from '../machines/views.ts'
import type { BatchView } from '../machines/batch-spec.ts'
import type { SweepView } from '../machines/sweep-spec.ts'
import type { Collection, CollectionDefinition, Documents, Search, Stored } from '../stores/mod.ts'

/** Which version each content of a dataset got. Its id is the dataset's name. */
export interface DatasetNumbers {
  readonly last: number
  readonly versions: Readonly<Record<string, number>>
}

/** Which version of a model each job got: the one place where versions are given out. Its id is the model's name. */
export interface ModelNumbers {
  readonly last: number
  readonly versions: Readonly<Record<string, number>>
}

/** How far a projection has read a shard's journal; its id is `<projection>:<shard>`. */
export interface Position {
  readonly position: string
}

export const jobsDefinition: CollectionDefinition<JobView> = {
  name: 'jobs',
  indexes: [
    'createdAt',
    ['owner', 'createdAt'],
    ['state', 'createdAt'],
    ['owner', 'state', 'createdAt'],
    ['sweep.id', 'createdAt'],
  ],
}

export const batchesDefinition: CollectionDefinition<BatchView> = {
  name: 'batches',
  indexes: ['createdAt', ['owner', 'createdAt']],
}

export const sweepsDefinition: CollectionDefinition<SweepView> = {
  name: 'sweeps',
  indexes: ['createdAt', ['owner', 'createdAt']],
}

export const modelsDefinition: CollectionDefinition<ModelVersionView> = {
  name: 'models',
  indexes: ['createdAt', 'version', ['name', 'version'], ['name', 'createdAt'], 'job', 'owner'],
}

export const modelAliasesDefinition: CollectionDefinition<ModelAliasView> = {
  name: 'modelAliases',
  indexes: [['name', 'alias']],
}

export const modelNumbersDefinition: CollectionDefinition<ModelNumbers> = { name: 'modelNumbers', indexes: [] }

export const datasetsDefinition: CollectionDefinition<DatasetView> = {
  name: 'datasets',
  indexes: ['createdAt', ['name', 'version'], ['name', 'content']],
}

export const datasetNumbersDefinition: CollectionDefinition<DatasetNumbers> = { name: 'datasetNumbers', indexes: [] }

export const positionsDefinition: CollectionDefinition<Position> = { name: 'positions', indexes: [] }

export interface FleetCollections {
  /** By job id. */
  readonly jobs: Collection<JobView>
  readonly batches: Collection<BatchView>
  readonly sweeps: Collection<SweepView>
  /** By `<name>@<version>`. */
  readonly models: Collection<ModelVersionView>
  /** By `<name>:<alias>`. */
  readonly modelAliases: Collection<ModelAliasView>
  readonly modelNumbers: Collection<ModelNumbers>
  readonly datasets: Collection<DatasetView>
  readonly datasetNumbers: Collection<DatasetNumbers>
  readonly positions: Collection<Position>
}

export function fleetCollections(documents: Documents): FleetCollections {
  return {
    jobs: documents.collection(jobsDefinition),
    batches: documents.collection(batchesDefinition),
    sweeps: documents.collection(sweepsDefinition),
    models: documents.collection(modelsDefinition),
    modelAliases: documents.collection(modelAliasesDefinition),
    modelNumbers: documents.collection(modelNumbersDefinition),
    datasets: documents.collection(datasetsDefinition),
    datasetNumbers: documents.collection(datasetNumbersDefinition),
    positions: documents.collection(positionsDefinition),
  }
}

export const aliasId = (name: string, alias: string): string => `${name}:${alias}`

export const versionedId = (name: string, version: number): string => `${name}@${version}`

const PAGE = 200

/** Every document that matches, page by page. */
export async function* each<T extends object>(
  collection: Pick<Collection<T>, 'find'>,
  search: Pick<Search<T>, 'where'> = {},
): AsyncGenerator<Stored<T>> {
  for (let cursor: string | undefined; ;) {
    const page = await collection.find({ ...search, limit: PAGE, ...(cursor !== undefined && { cursor }) })
    yield* page.items
    if (page.next === undefined) return
    cursor = page.next
  }
}
