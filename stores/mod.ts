/**
 * What stores/ offers: the two contracts, their embedded implementations, and the errors that both speak.
 * Nothing else of this folder is imported from outside.
 */
export {
  defineCollection,
  eachDocument,
  modify,
  type Collection,
  type CollectionDefinition,
  type Cursor,
  type Direction,
  type Documents,
  type IndexedField,
  type IndexedValue,
  type Page,
  type Search,
  type Stored,
} from './documents.ts'
export { openSqliteDocuments } from './documents/sqlite.ts'
export {
  parseSha256,
  sha256Of,
  type BlobInfo,
  type BlobRef,
  type Blobs,
  type BlobSource,
  type GetOptions,
  type PutOptions,
  type Sha256,
} from './blobs.ts'
export { openFileSystemBlobs } from './blobs/file-system.ts'
export { isStoreError, StoreError, type Remedy, type StoreErrorCode, type StoreErrorData } from './errors.ts'
export { LIMITS as STORE_LIMITS } from './limits.ts'
