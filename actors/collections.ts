/**
 * The fleet's documents: what there is beside running actors. Jobs are a projection of the journal and can be rebuilt;
 * models and datasets are facts that effects write once. Each definition names the fields that may be searched by.
 */
import type { JobView, ModelAliasView, ModelVersionView } from '../machines/views.ts'
import type { Collection, CollectionDefinition, Documents } from '../stores/mod.ts'

/** A version of a dataset; its id is `<name>@<version>`. */
export interface DatasetDocument {
  readonly name: string
  readonly version: number
  /** Whose it is: the first version's owner adds the others. */
  readonly owner: string
  /** The blob of its manifest. */
  readonly manifest: string
  /** Hash of its rows and columns: the same content is the same version. */
  readonly content: string
  readonly format: string
  readonly rows: number
  /** Of all its shards. */
  readonly sizeBytes: number
  readonly createdAt: number
}

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
  indexes: ['createdAt', ['owner', 'createdAt'], ['state', 'createdAt'], ['owner', 'state', 'createdAt']],
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

export const datasetsDefinition: CollectionDefinition<DatasetDocument> = {
  name: 'datasets',
  indexes: ['createdAt', ['name', 'version'], ['name', 'content']],
}

export const datasetNumbersDefinition: CollectionDefinition<DatasetNumbers> = { name: 'datasetNumbers', indexes: [] }

export const positionsDefinition: CollectionDefinition<Position> = { name: 'positions', indexes: [] }

export interface FleetCollections {
  /** By job id. */
  readonly jobs: Collection<JobView>
  /** By `<name>@<version>`. */
  readonly models: Collection<ModelVersionView>
  /** By `<name>:<alias>`. */
  readonly modelAliases: Collection<ModelAliasView>
  readonly modelNumbers: Collection<ModelNumbers>
  readonly datasets: Collection<DatasetDocument>
  readonly datasetNumbers: Collection<DatasetNumbers>
  readonly positions: Collection<Position>
}

export function fleetCollections(documents: Documents): FleetCollections {
  return {
    jobs: documents.collection(jobsDefinition),
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
