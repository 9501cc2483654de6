/**
 * What can go wrong in a store. Each error has a stable `code` (API: never renamed), a sentence for a person that
 * names the place and what to do, the `data` that explains it, and a `remedy`: what the caller can do about it.
 * A store throws nothing else: whatever SQLite or the file system says is turned into one of these where it happens.
 */
export type Remedy = 'retry' | 'retry-elsewhere' | 'fix-request' | 'give-up'

/** The data of each code. A code that explains itself by its message alone has the place as its data. */
export interface StoreErrorData {
  /** The disk (or a quota on it) has no room. */
  'store.full': { folder: string; neededBytes?: number; freeBytes?: number }
  /** Somebody else held the store's lock for longer than we wait. */
  'store.busy': { place: string; waitedMs: number }
  /** We may not read or write there. */
  'store.denied': { place: string }
  /** The store's own structure is damaged. */
  'store.corrupt': { place: string }
  /** The store was written by a newer TensorFleet, or is no store of ours. */
  'store.format': { place: string; expected: string; found: string }
  /** It was closed, and then used. */
  'store.closed': { place: string }
  /** Anything else the disk or the server under the store reports. */
  'store.failed': { place: string; reason: string }

  /** The value is not JSON, or would not come back as it went in. */
  'document.invalid': { collection: string; id: string; path: string; found: string }
  'document.too-large': { collection: string; id: string; sizeBytes: number; sizeMaxBytes: number }
  'document.bad-id': { collection: string; id: string }
  /** `modify` lost the race for one document too often. */
  'document.contended': { collection: string; id: string; attempts: number }
  'collection.invalid': { collection: string; reason: string }
  /** A search by a field that the collection does not declare. */
  'find.not-indexed': { collection: string; field: string; indexed: readonly string[] }
  'find.bad-limit': { collection: string; limit: number; limitMax: number }
  /** The cursor is not one of ours, or belongs to another search. */
  'find.bad-cursor': { collection: string; reason: string }

  'blob.bad-id': { found: string }
  'blob.missing': { sha256: string; place: string }
  /** The bytes do not have the hash that names them. */
  'blob.corrupt': { sha256: string; found: string; path: string }
  /** What was put is not what its sender said it would be. */
  'blob.mismatch': { expected: string; found: string; sizeBytes: number }
  'blob.too-large': { sizeMaxBytes: number }
  'blob.bad-range': { sha256: string; offsetBytes: number; lengthBytes?: number; sizeBytes: number }
  'blob.unreadable-source': { path: string; reason: string }
}

export type StoreErrorCode = keyof StoreErrorData

const REMEDIES: { readonly [Code in StoreErrorCode]: Remedy } = {
  'store.full': 'retry-elsewhere',
  'store.busy': 'retry',
  'store.denied': 'give-up',
  'store.corrupt': 'give-up',
  'store.format': 'give-up',
  'store.closed': 'give-up',
  'store.failed': 'retry',
  'document.invalid': 'fix-request',
  'document.too-large': 'fix-request',
  'document.bad-id': 'fix-request',
  'document.contended': 'retry',
  'collection.invalid': 'fix-request',
  'find.not-indexed': 'fix-request',
  'find.bad-limit': 'fix-request',
  'find.bad-cursor': 'fix-request',
  'blob.bad-id': 'fix-request',
  'blob.missing': 'fix-request',
  'blob.corrupt': 'give-up',
  'blob.mismatch': 'fix-request',
  'blob.too-large': 'fix-request',
  'blob.bad-range': 'fix-request',
  'blob.unreadable-source': 'fix-request',
}

export class StoreError<Code extends StoreErrorCode = StoreErrorCode> extends Error {
  override readonly name = 'StoreError'
  readonly code: Code
  readonly data: StoreErrorData[Code]
  readonly remedy: Remedy

  constructor(code: Code, message: string, data: StoreErrorData[Code], options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
    this.data = data
    this.remedy = REMEDIES[code]
  }
}

/** Whether `error` is the store error of this code: `if (isStoreError(error, 'blob.missing')) error.data.sha256`. */
export function isStoreError<Code extends StoreErrorCode>(error: unknown, code: Code): error is StoreError<Code> {
  return error instanceof StoreError && error.code === code
}

/** "3.2 MB": sizes as a person reads them, in the messages of this folder. */
export function readableBytes(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'] as const
  const power = bytes < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3))
  return power === 0 ? `${bytes} bytes` : `${(bytes / 1000 ** power).toFixed(1)} ${units[power]}`
}
