/**
 * Every maximum of the stores, and how they relate. A limit is what a caller may rely on with every implementation,
 * so it is the smallest of what the servers behind the contracts allow (MongoDB: 16 MiB a document).
 */
export const LIMITS = {
  documentBytesMax: 8 * 1024 * 1024,
  documentIdCharsMax: 256,
  /** Documents in one page of `find`; also what `find` gives when it is not told how many. */
  pageMax: 1000,
  pageDefault: 100,
  cursorCharsMax: 4096,
  /** A value that is searched by is part of the cursor: it must fit in there, escaped and in base64. */
  indexedCharsMax: 512,
  /** How often `modify` reads and tries again when others write the same document. */
  modifyAttemptsMax: 100,
  /** How long a writer waits for another process's write to the same SQLite file. */
  sqliteBusyMs: 5_000,
  blobBytesMax: 1024 ** 4,
  /** What one read of a blob holds in memory. */
  chunkBytes: 256 * 1024,
  /** A temporary file nobody wrote to for this long was left by a process that died. */
  leftoverMs: 60 * 60 * 1000,
} as const

// A JSON escape takes at most 6 characters for one of a string, base64 4 for 3 bytes; the rest of a cursor is small.
if (LIMITS.indexedCharsMax * 6 * (4 / 3) > LIMITS.cursorCharsMax) {
  throw new Error('LIMITS.indexedCharsMax does not fit in LIMITS.cursorCharsMax')
}
if (LIMITS.pageDefault > LIMITS.pageMax) throw new Error('LIMITS.pageDefault is above LIMITS.pageMax')
