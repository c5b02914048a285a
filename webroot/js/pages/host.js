import { hostReport } from "../api.js";
import { bytes, duration } from "../format.js";
import { useTitle } from "../frame.js";
import { html, useEffect, useState } from "../html.js";
import { Button } from "../parts/button.js";
import { Icon } from "../parts/icons.js";
import { ProblemBox } from "../parts/problem.js";
import { asProblem } from "../problem.js";
import { Shape } from "../shape.js";

export function HostPage() {
  return html``;
}
void [hostReport, bytes, duration, useTitle, useEffect, useState, Button, Icon, ProblemBox, asProblem, Shape];
