/**
 * What the operating system says about files, as errors of ours. Both embedded stores live on a disk, so what a full
 * or forbidden one means stands here once. Synchronous, because SQLite is, and because an error is no hot path.
 */
import { statfsSync } from 'node:fs'
import { readableBytes, StoreError } from './errors.ts'

/** What does not come from the system (a caller's own stream or abort reason, an error of ours) stays what it is. */
export function diskError(error: unknown, place: string, neededBytes?: number): unknown {
  if (error instanceof StoreError || !(error instanceof Error) || !('syscall' in error)) return error
  switch (codeOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return diskFull(place, neededBytes, error)
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return denied(place, error)
    default:
      return new StoreError(
        'store.failed',
        `Cannot use ${place}: ${error.message}.`,
        { place, reason: error.message },
        { cause: error },
      )
  }
}

export function diskFull(folder: string, neededBytes?: number, cause?: unknown): StoreError<'store.full'> {
  const freeBytes = freeBytesOf(folder)
  const needed = neededBytes === undefined ? '' : `, ${readableBytes(neededBytes)} needed`
  const free = freeBytes === undefined ? '' : `, ${readableBytes(freeBytes)} free`
  return new StoreError(
    'store.full',
    `Cannot write to ${folder}: its disk is full${needed}${free}. Free some space and try again; nothing was changed.`,
    { folder, ...(neededBytes !== undefined && { neededBytes }), ...(freeBytes !== undefined && { freeBytes }) },
    { cause },
  )
}

export function denied(place: string, cause: unknown): StoreError<'store.denied'> {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new StoreError(
    'store.denied',
    `Cannot open or write ${place}: ${reason}. Check the owner and mode of the folder.`,
    { place },
    { cause },
  )
}

/** Bytes that we may still write there; undefined where the system does not tell. */
export function freeBytesOf(folder: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize
  } catch {
    return undefined // a figure for a message and for an early no, never one that anything rests on
  }
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
