// Signs in, runs one task and prints what came back:
// node run_job.mjs BASE_URL USER TASK OUTPUT PARAMETERS_JSON, the password in PASSWORD.
import { ArcGISIdentityManager, Job, request } from "@esri/arcgis-rest-request";

const [base, username, task, output, parameters] = process.argv.slice(2);
const portal = `${base}/portal/sharing/rest`;
const toolbox = `${base}/arcgis/rest/services/System/RasterAnalysisTools/GPServer`;

const manager = await ArcGISIdentityManager.signIn({ username, password: process.env.PASSWORD, portal });
const user = await manager.getUser();
const token = await manager.getToken(toolbox);

const job = await Job.submitJob({
  url: `${toolbox}/${task}/submitJob`,
  params: JSON.parse(parameters),
  authentication: manager,
  pollingRate: 200,
});
const seen = [];
job.on("status", ({ status }) => seen.push(status));
try {
  const info = await job.waitForCompletion();
  const result = await job.getResult(output);
  const layer = result.value?.url ? await request(result.value.url, { authentication: manager }) : null;
  console.log(JSON.stringify({ user: user.username, token: Boolean(token), status: info.status, seen, result, layer }));
} catch (error) {
  console.log(JSON.stringify({ failed: error.name, status: error.jobInfo?.status, messages: error.jobInfo?.messages }));
}
process.exit(0);
