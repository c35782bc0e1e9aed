import type { StepName } from "./storage-plan.ts";
import { commitBack, finishClone } from "./clone.ts";
import { copyLayers } from "./copy-layers.ts";
import { createFiles } from "./create-files.ts";
import { resumeGuest, saveMemory } from "./memory.ts";
import { awaitReady, removeMirrors, restartMirrors, startMirrors, stopMirrors } from "./mirrors.ts";
import {
  attachBacking,
  closeSource,
  decidePivot,
  finishPivot,
  mergeOverlays,
  preparePivot,
  removeSource,
} from "./pivot.ts";
import { prepareImages } from "./prepare-images.ts";
import { freeze, thaw } from "./quiesce.ts";
import type { Step } from "./step.ts";
import { takeSnapshot } from "./take-snapshot.ts";
import { verifyCopies } from "./verify-copies.ts";

const all: Record<StepName, Step> = {
  "create-files": createFiles,
  "prepare-images": prepareImages,
  freeze,
  "save-memory": saveMemory,
  "take-snapshot": takeSnapshot,
  "resume-guest": resumeGuest,
  thaw,
  "start-mirrors": startMirrors,
  "restart-mirrors": restartMirrors,
  "await-ready": awaitReady,
  "copy-layers": copyLayers,
  "verify-copies": verifyCopies,
  "attach-backing": attachBacking,
  "prepare-pivot": preparePivot,
  "decide-pivot": decidePivot,
  "finish-pivot": finishPivot,
  "close-source": closeSource,
  "merge-overlays": mergeOverlays,
  "remove-source": removeSource,
  "finish-clone": finishClone,
  "stop-mirrors": stopMirrors,
  "remove-mirrors": removeMirrors,
  "commit-back": commitBack,
};

export function stepByName(name: StepName): Step {
  return all[name];
}
