/** What survives a trip through a mailbox or a snapshot: plain JSON. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined }
