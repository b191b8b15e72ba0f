/** A Prebuilt as text: bytes in base64, lists joined by newlines. */
export interface PrebuiltImage {
  readonly helpers: string;
  readonly interpreter: string;
  readonly interpreterForms: string;
  readonly handlers: string;
  readonly handlerForms: string;
  readonly traits: string;
  readonly shapes: string;
  readonly shapeForms: string;
  readonly shapeFeatures: string;
}
